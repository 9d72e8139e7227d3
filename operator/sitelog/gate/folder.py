"""The program of the folder that `sitelog install-gate` makes: `python FOLDER`, with client_train's arguments.

It is copied there as `__main__.py`, and goes on as `python -m sitelog.gate` would, with nothing in PYTHONPATH.
"""

import os
import runpy
import sys

from sitelog.core.names import CLIENT_MODULE, GATE_FAILURE_POLICY


def main() -> None:
    """Run NVFlare's client through the gate; without it where the gate cannot run here and must not be in the way."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as `-m` has it
    try:
        from sitelog.gate.__main__ import main as gate  # noqa: PLC0415 - it brings NVFlare with it
    except ImportError as error:
        trouble = f"sitelog.gate: this image has not what the gate needs ({error})"
        if os.environ.get(GATE_FAILURE_POLICY) != "Ignore":
            sys.exit(f"{trouble}: install the kubernetes package in it")
        sys.stderr.write(f"{trouble}: the client runs without it, as {GATE_FAILURE_POLICY} is Ignore\n")
        runpy.run_module(CLIENT_MODULE, run_name="__main__", alter_sys=True)
    else:
        gate()


if __name__ == "__main__":
    main()
