"""How long it takes from a job's end until its error log is on the server: one job, and fifty at the same time."""

import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sitelog.core.names import LABEL_UPLOAD
from support.commands import say
from support.federation.provisioning import SITE
from support.kind.bare_pods import BarePods
from support.kind.kind import Cluster
from support.kind.site_on_kind import Site
from support.wait import wait_for

AT_ONCE = 50
START = 50.0  # seconds in which so many pods have surely started
UPLOADS_AT_ONCE = 8  # the chart's default
ERROR_LOG = f"ERRORLOG_{SITE}"


def test_the_time_from_a_jobs_end_to_its_stored_log(cluster: Cluster, site: Site, tmp_path: Path) -> None:
    bare = BarePods(site, tmp_path)
    bare.prepare()
    alone = [delays(site, bare, 1, 5.0, every=0.1)[0] for _ in range(5)]
    with most_uploads(cluster, site) as most:
        together = delays(site, bare, AT_ONCE, START, every=1)
    say(f"from a job's end to its stored error log, alone: {spread(alone)}; {AT_ONCE} at once: {spread(together)}")
    assert len(together) == AT_ONCE
    assert 0 < most[0] <= UPLOADS_AT_ONCE


def spread(seconds: list[float]) -> str:
    percentile = statistics.quantiles(seconds, n=20)[-1]
    return f"median {statistics.median(seconds):.1f} s, 95th percentile {percentile:.1f} s"


def delays(site: Site, bare: BarePods, count: int, start: float, *, every: float) -> list[float]:
    """Let so many jobs die at the same time; give for each how many seconds later the server has its log.

    `every` so many seconds is looked: not so often that looking takes the processors' time.
    """
    jobs = [bare.job(f"latency-{uuid.uuid4().hex[:12]}") for _ in range(count)]
    end_at = time.time() + start
    for job in jobs:
        bare.create(f"latency-{job}", job, "code", errors=5, end_at=end_at)
    waiting, found = set(jobs), list[float]()

    def all_there() -> bool:
        for job in [job for job in waiting if site.stored(job).get(ERROR_LOG)]:
            waiting.remove(job)
            found.append(time.time() - end_at)
        return not waiting

    wait_for(all_there, 400, f"{count} error logs", every=every)
    return found


@contextmanager
def most_uploads(cluster: Cluster, site: Site) -> Iterator[list[int]]:
    """Count the uploads that run at the same time; the list has the highest number."""
    most, stop = [0], threading.Event()

    def watch() -> None:
        jobs = f"/apis/batch/v1/namespaces/{site.namespace}/jobs"
        while not stop.wait(1):
            found = cluster.api.get(jobs, labelSelector=LABEL_UPLOAD)["items"]
            most[0] = max(most[0], sum(bool(job["status"].get("active")) for job in found))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()
