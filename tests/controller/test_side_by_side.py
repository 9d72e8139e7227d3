"""Two controllers at all times, as the chart has them: what both do is done once, and one of them is enough."""

import os
import re
import signal
from typing import Any

import pytest

from support.federation.stand_in_uploader import StandInUploader
from support.pods.job_pods import BROKEN, CLEAN, JobPods, received
from support.sitelog.controllers import Controllers
from support.sitelog.installation import Installation
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for

COUNT = 6


@pytest.fixture
def first(
    installation: Installation, controller: SitelogProcess, pods: JobPods, spec: dict[str, Any]
) -> SitelogProcess:
    """A controller that is ready, and the policy in force."""
    installation.policy(pods.namespace, **spec)
    return controller.ready()


@pytest.fixture
def both(first: SitelogProcess, controllers: Controllers) -> list[SitelogProcess]:
    return [first, controllers.start().ready()]


def counted(controller: SitelogProcess, result: str) -> float:
    found = re.findall(
        rf'^sitelog_error_logs_total{{.*result="{result}"}} (\S+)$', controller.ask("/metrics")[1], re.MULTILINE
    )
    return sum(map(float, found))


def test_what_both_do_is_done_and_told_once(
    installation: Installation, both: list[SitelogProcess], pods: JobPods, uploader: StandInUploader
) -> None:
    before = {result: sum(counted(each, result) for each in both) for result in ("Uploaded", "Skipped")}
    broken, clean = ([f"{kind}-{number}" for number in range(COUNT)] for kind in ("broken", "clean"))
    for name in broken + clean:
        pods.run(name, log=BROKEN if name in broken else CLEAN)
        pods.kubelet.wait_followed(pods.namespace, name, times=2)
    for name in broken + clean:
        pods.end(name, 3 if name in broken else 0)

    for name in broken + clean:
        pods.wait(name, "Uploaded" if name in broken else "Skipped")
        pods.events(name)  # each is there once
    for name in broken:
        log = received(uploader, name)
        assert log.startswith(BROKEN)
        assert log.count(b"CRITICAL") == 1
    wait_for(lambda: all("ttlSecondsAfterFinished" in job["spec"] for job in pods.jobs()), 60, "all to be recorded")
    wait_for(lambda: not installation.status(pods.namespace).get("pendingCounts"), 60, "the bookkeeping to be done")
    assert installation.status(pods.namespace)["uploads"] == {"uploaded": COUNT, "skipped": COUNT, "failed": 0}
    for result, names in (("Uploaded", broken), ("Skipped", clean)):
        assert sum(counted(each, result) for each in both) == before[result] + COUNT
        for name in names:
            assert both[0].log.count(f"{pods.namespace}/{name}: error log {result}") == 1  # both write to one file


def test_one_is_killed_and_the_other_has_the_log(
    both: list[SitelogProcess], pods: JobPods, uploader: StandInUploader
) -> None:
    pods.run("deleted", log=BROKEN)
    pods.kubelet.wait_followed(pods.namespace, "deleted", times=2)
    both[1].kill()
    pods.kubelet.delete(pods.namespace, "deleted")
    log = received(uploader, "deleted")
    assert log.startswith(BROKEN)
    assert b"the job's own error log is lost" not in log


def test_who_comes_too_late_for_a_log_leaves_it_to_the_one_that_has_it(
    first: SitelogProcess, controllers: Controllers, pods: JobPods, uploader: StandInUploader
) -> None:
    pods.run("busy", log=BROKEN)
    pods.kubelet.wait_followed(pods.namespace, "busy")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        pods.kubelet.delete(pods.namespace, "busy")
        late = controllers.start()
        read = f"/{pods.namespace}/pods/busy/log?"
        wait_for(lambda: sum(read in request for request in controllers.proxy.seen) > 1, 60, "the late one to ask")
        late.ready()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    log = received(uploader, "busy")
    assert log.startswith(BROKEN)
    assert b"the job's own error log is lost" not in log
