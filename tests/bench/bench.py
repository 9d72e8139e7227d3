"""Sitelog's promises about time, measured: `make bench`. Exit code 1: one of them is not kept."""

import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # `bench` and `support` are found there

from bench import admission, flip, slow_inputs
from bench.webhook_process import LIMIT
from support.control_plane.control_plane import ControlPlane
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.installation import Installation


class Table:
    """Prints rows, and remembers whether a goal was missed."""

    def __init__(self) -> None:
        self.kept = True

    def heading(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def row(self, what: str, seconds: float, goal: float | None = None, note: str = "") -> None:
        """Print a time in milliseconds, with its goal if it has one."""
        verdict = ""
        if goal is not None:
            kept = seconds <= goal
            self.kept &= kept
            verdict = f"{'pass' if kept else 'FAIL'} (goal {1000 * goal:.0f} ms)"
        print(f"  {what:52} {1000 * seconds:8.1f} ms  {verdict:20} {note}".rstrip(), flush=True)

    def below(self, what: str, mebibytes: float, limit: float) -> None:
        """Print what was taken, and whether it is below a limit."""
        kept = mebibytes < limit
        self.kept &= kept
        print(f"  {what:52} {mebibytes:8.1f} MiB {'pass' if kept else 'FAIL'} (limit {limit} MiB)", flush=True)


def main() -> int:
    """Measure everything."""
    warnings.simplefilter("ignore")
    table = Table()
    with ControlPlane() as control_plane, PlayedKubelet(control_plane) as kubelet:
        installation = Installation(control_plane, kubelet, **{"controller.replicas": 2})  # as the chart has it
        installation.install()  # nobody uninstalls it: the control plane ends as a whole
        _admissions(table, installation)
        _slow_inputs(table, installation)
        table.heading(f"A flip to Forbidden over {flip.NUMBER} stored ConfigMaps")
        table.row("until all of them are clean", flip.measure(installation), flip.GOAL)
    print("\nevery goal is reached" if table.kept else "\na goal is missed", flush=True)
    return 0 if table.kept else 1


def _admissions(table: Table, installation: Installation) -> None:
    size, number = admission.SIZE, admission.NUMBER
    table.heading(
        f"Creating {number} job ConfigMaps of {size} bytes, and others that the webhook does not see, in turn"
    )
    alone, beside = admission.measure(installation)
    for when, measured, goal in (("alone", alone, None), ("beside the worst input", beside, admission.GOAL)):
        ratio = f"{measured.seen.half / measured.unseen.half:.1f} times the others"
        table.row(f"{when}: p50", measured.seen.half, note=ratio)
        table.row(f"{when}: p95", measured.seen.most, goal)
        table.row(f"{when}: p50 of the others", measured.unseen.half)
        table.row(f"{when}: p95 of the others", measured.unseen.most)


def _slow_inputs(table: Table, installation: Installation) -> None:
    table.heading("A webhook that is sent slow reviews for a minute without a pause")
    with tempfile.TemporaryDirectory(dir=installation.control_plane.directory) as directory:
        measured = slow_inputs.measure(installation, Path(directory))
    table.row("other reviews, alone: p95", measured.alone)
    table.row("other reviews, meanwhile: p95", measured.beside, slow_inputs.GOAL, f"{measured.slow} slow ones answered")
    table.below("memory of the webhook and its processes, at most", measured.peak, LIMIT)


if __name__ == "__main__":
    sys.exit(main())
