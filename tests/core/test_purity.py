"""Decisions know no framework and no network: they run wherever a person or NVFlare's client runs them."""

import subprocess
import sys
from pathlib import Path

import sitelog.core

CORE = Path(sitelog.core.__file__).parent
MODULES = sorted(
    ".".join(("sitelog.core", *file.relative_to(CORE).with_suffix("").parts)) for file in CORE.rglob("*.py")
)
BLOCKED = ("kopf", "kubernetes", "kubernetes_asyncio", "nvflare", "pydantic", "aiohttp", "typer", "cryptography")
PROGRAM = """
import importlib, sys
for name in {blocked!r}:
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
from sitelog.core.jobconfig.verdict import judge
from sitelog.core.policy.policy import LogStreaming, Streamer
print(judge("{{}}", LogStreaming.ALLOWED, Streamer()).decision.value)
"""


def test_core_imports_none_of_them() -> None:
    program = PROGRAM.format(blocked=BLOCKED, modules=[name.removesuffix(".__init__") for name in MODULES])
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("Injected", "")
