"""Sitelog's promises about memory, measured: `make bench-memory`. Exit code 1: one of them is not kept."""

import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # `bench` and `support` are found there

from bench import controller_memory, webhook_memory
from bench.process_memory import Memory
from support.control_plane.control_plane import ControlPlane
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.installation import Installation


class Table:
    """Prints rows, and remembers whether a goal was missed."""

    def __init__(self) -> None:
        self.kept = True

    def heading(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def row(self, what: str, memory: Memory) -> None:
        """Print what a process takes."""
        opened = f"{memory.files:5} open files, {memory.sockets:4} of them sockets"
        print(f"  {what:52} {memory.resident:6.1f} MiB, peak {memory.peak:6.1f} MiB {opened}", flush=True)

    def below(self, what: str, memory: Memory, limit: float) -> None:
        """Print whether the peak stayed below a limit."""
        self._verdict(what, f"{memory.peak:6.1f} MiB", memory.peak < limit, f"goal below {limit} MiB")

    def no_growth(self, what: str, before: Memory, after: Memory, most: float) -> None:
        """Print whether two equal states take the same."""
        grown = after.resident / before.resident - 1
        self._verdict(what, f"{grown:+6.1%}    ", grown < most, f"goal below {most:.0%}")

    def _verdict(self, what: str, value: str, kept: bool, goal: str) -> None:  # noqa: FBT001
        self.kept &= kept
        print(f"  {what:52} {value}  {'pass' if kept else 'FAIL'} ({goal})", flush=True)


def main() -> int:
    """Measure both processes."""
    warnings.simplefilter("ignore")
    table = Table()
    with ControlPlane() as control_plane, PlayedKubelet(control_plane) as kubelet:
        installation = Installation(control_plane, kubelet)
        installation.install()  # nobody uninstalls it: the control plane ends as a whole
        with tempfile.TemporaryDirectory(dir=control_plane.directory) as directory:
            _webhook(table, installation, Path(directory))
        with tempfile.TemporaryDirectory(dir=control_plane.directory) as directory:
            _controller(table, installation, Path(directory))
    print("\nevery goal is reached" if table.kept else "\na goal is missed", flush=True)
    return 0 if table.kept else 1


def _webhook(table: Table, installation: Installation, directory: Path) -> None:
    table.heading(
        f"A webhook process that answers {webhook_memory.REVIEWS} reviews of job ConfigMaps and job pods (minutes)"
    )
    states: list[Memory] = []
    for number, memory in webhook_memory.measure(installation, directory):
        table.row(f"after {number} reviews", memory)
        states.append(memory)
    table.below("peak", states[-1], webhook_memory.LIMIT)
    table.no_growth(f"from {webhook_memory.STEP} reviews to all", states[1], states[-1], webhook_memory.GROWTH)


def _controller(table: Table, installation: Installation, directory: Path) -> None:
    table.heading(f"A controller process that follows the error logs of {controller_memory.PODS} job pods (minutes)")
    states: dict[str, Memory] = {}
    for what, memory in controller_memory.measure(installation, directory):
        table.row(what, memory)
        states[what] = memory
    highest = max(states.values(), key=lambda memory: memory.peak)
    table.below("peak", highest, controller_memory.LIMIT)
    # Pods that have come one after the other take more than those that came together; so from when all have.
    for kind, first in (("all connections broken", 1), ("ended and sent", controller_memory.REPLACED)):
        same = [state for what, state in states.items() if kind in what]
        what = f"{kind}: from time {first} to the last"
        table.no_growth(what, same[first - 1], same[-1], controller_memory.GROWTH)


if __name__ == "__main__":
    sys.exit(main())
