"""Sitelog from end to end on this machine: `make demo`. It ends by itself, and leaves nothing behind.

Exit code 1: something that it shows is not as it should be.
"""

import contextlib
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))  # `demo` and `support` are found there

from demo.narrator import ClaimError, Narrator
from demo.story import tell_story
from demo.world import World
from support.control_plane.control_plane import ControlPlane
from support.federation.federation import SITE, Federation
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.installation import Installation

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Start everything, tell the story, end everything."""
    narrator = Narrator()
    try:
        with contextlib.ExitStack() as stack:
            try:
                _play(_start(stack, narrator))
            finally:
                narrator.progress("ending everything")
    except KeyboardInterrupt:
        narrator.progress("interrupted")
        return INTERRUPTED
    except (ClaimError, RuntimeError, TimeoutError) as error:
        narrator.progress(f"FAILED: {error}")
        return 1
    narrator.progress("everything was as it should be")
    return 0


def _start(stack: contextlib.ExitStack, narrator: Narrator) -> World:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sitelog-demo-")))
    narrator.progress("starting etcd, kube-apiserver, kube-controller-manager, and beside them an FL server")
    beside = stack.enter_context(ThreadPoolExecutor(1))  # to the end: processes end with the thread that started them
    starting = beside.submit(_start_federation, stack, directory / "federation")
    control_plane = stack.enter_context(ControlPlane())
    kubelet = stack.enter_context(PlayedKubelet(control_plane))
    narrator.progress("installing Sitelog: helm install sitelog charts/sitelog")
    installation = Installation(control_plane, kubelet, **{"controller.replicas": 2})  # as the chart has it
    installation.install()  # nobody uninstalls it: the control plane ends as a whole
    narrator.progress("waiting for the FL server")
    federation = starting.result()
    return World(control_plane, kubelet, installation, federation, narrator, directory)


def _play(world: World) -> None:
    try:
        tell_story(world)
    except Exception:
        with contextlib.suppress(RuntimeError, OSError):  # what comes next must not hide why
            _tell_logs(world)
        raise


def _start_federation(stack: contextlib.ExitStack, directory: Path) -> Federation:
    federation = stack.enter_context(Federation(directory))
    federation.start_server()
    return federation


def _tell_logs(world: World) -> None:
    """Print the ends of the logs that may tell what went wrong."""
    logs = {part: world.installation.logs(part) for part in ("controller", "webhook")}
    for name, text in {**logs, SITE: world.federation.log(SITE)}.items():
        print(f"--- the end of {name}'s log ---", *text.splitlines()[-12:], sep="\n", flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End, once: while everything ends, nobody is in a hurry."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for one in SIGNALS:
        signal.signal(one, _interrupt)
    sys.exit(main())
