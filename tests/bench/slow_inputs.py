"""A minute of slow reviews without a pause: whether the webhook lives within its limit, and how long others wait."""

import itertools
import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.webhook_process import WebhookProcess, review_of
from support.control_plane.api import Json
from support.federation.jobs import JOB_LOG_STREAMER, client_config
from support.inputs.slow_configurations import SLOW
from support.sitelog.installation import Installation, configmap

GOAL = 0.050  # seconds, p95 of other reviews
_SECONDS = 60.0
_NAMESPACE = "bench-slow"
_PAUSE = 0.05  # seconds between looks at memory, and between others' reviews


@dataclass(frozen=True)
class Measured:
    """How many slow reviews were answered, how long 95 of 100 others took, alone and meanwhile, and MiB at most."""

    slow: int
    alone: float
    beside: float
    peak: float


def measure(installation: Installation, directory: Path) -> Measured:
    """Send every slow configuration as a CREATE and as an UPDATE, again and again, and small ones beside."""
    installation.control_plane.kubectl("create", "namespace", _NAMESPACE)
    installation.policy(_NAMESPACE, logStreaming="Forbidden")
    with WebhookProcess(installation, directory) as webhook:
        alone = _others(webhook, _SECONDS / 4)
        with _slow(webhook) as slow, _memory(webhook.pid) as taken:
            beside = _others(webhook, _SECONDS)
        return Measured(next(slow), alone, beside, max(taken))


def _others(webhook: WebhookProcess, seconds: float) -> float:
    made = configmap(_NAMESPACE, "job", client_config(components=[JOB_LOG_STREAMER]))
    took, until = list[float](), time.monotonic() + seconds

    def bodies() -> Iterator[Json]:
        for number in itertools.count():
            if time.monotonic() > until:
                return
            time.sleep(_PAUSE)
            began = time.perf_counter()
            yield review_of("configmaps", made, f"other-{number}")
            took.append(time.perf_counter() - began)

    webhook.review(bodies())
    return statistics.quantiles(took, n=20)[-1]


@contextmanager
def _slow(webhook: WebhookProcess) -> Iterator[Iterator[int]]:
    """Count what was answered; goes on until told to stop."""
    stop, answered = threading.Event(), itertools.count()
    made = []
    for key, text in SLOW.values():
        each = configmap(_NAMESPACE, "slow", "")
        each["data"] = {key: text()}
        made.append(each)

    def bodies() -> Iterator[Json]:
        for number, each in enumerate(itertools.cycle(made)):
            if stop.is_set():
                return
            yield review_of("configmaps", each, f"slow-{number}", update=number // len(made) % 2 == 1)
            next(answered)

    sender = threading.Thread(target=lambda: webhook.review(bodies()), daemon=True)
    sender.start()
    try:
        yield answered
    finally:
        stop.set()
        sender.join()


@contextmanager
def _memory(pid: int) -> Iterator[list[float]]:
    """Look at what the webhook and its processes take together, as a limit would count it."""
    stop, taken = threading.Event(), list[float]()

    def watch() -> None:
        while not stop.wait(_PAUSE):
            taken.append(sum(map(_resident, _family(pid))))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield taken
    finally:
        stop.set()
        watcher.join()


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
    except OSError:  # it has ended
        return


def _resident(pid: int) -> float:
    """Return what a process takes in MiB, pages that it shares counted by share."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0
