"""What the controller takes while it follows the error logs of 1,000 running job pods, and keeps when they change."""

import re
from collections.abc import Iterator
from pathlib import Path

from bench.process_memory import Memory
from bench.simulated_logs import SimulatedLogs
from bench.simulated_pods import SimulatedPods
from support.control_plane.keys import write_serving_pair
from support.federation.stand_in_uploader import StandInUploader
from support.sitelog.installation import NAMESPACE, Installation
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for

LIMIT = 512  # MiB: controller.resources of the chart
GROWTH = 0.05
PODS = 1_000
ENDING = 200  # of them in each change
REPLACED = PODS // ENDING  # changes, after which none of the first pods is there any more
CHANGES = 2 * REPLACED
BREAKS = 2
RECORD = b"2026-01-01 10:00:00,000 - Worker - ERROR - the number of rows does not match, seen at step 12345\n"
RECORDS = RECORD * 40  # about 4 KB
_NAMESPACE = "bench-memory"
_SWEEP = 10  # seconds; the chart's 30 with less waiting
_UPLOADS = 16
_PATIENCE = 600.0  # seconds for any of it


def measure(installation: Installation, directory: Path) -> Iterator[tuple[str, Memory]]:
    """Yield the memory in each state; states of the same word differ in nothing but what happened before."""
    plane = installation.control_plane
    plane.kubectl("create", "namespace", _NAMESPACE)
    uploader = StandInUploader(directory)
    error_log = {"upload": "Enabled", "courierSecretName": "courier", "image": uploader.image}
    installation.policy(_NAMESPACE, clientName="site-1", errorLog={**error_log, "ttlSecondsAfterFinished": 60})
    plane.kubectl("scale", "deployment", "sitelog-controller", f"--namespace={NAMESPACE}", "--replicas=0")
    wait_for(lambda: not installation.pods("controller"), 60, "the installed controller to go")
    with SimulatedLogs(write_serving_pair(directory, "simulated")) as logs:
        pods = SimulatedPods(plane.api, _NAMESPACE, logs)
        with _Controller(installation, directory) as controller:
            yield from _states(controller, pods, logs)
        if len(uploader.stored("job-*")) != CHANGES * ENDING:
            raise RuntimeError(f"{len(uploader.stored('job-*'))} of {CHANGES * ENDING} error logs were uploaded")
        with _Controller(installation, directory) as controller:
            yield "the controller started anew beside all of them", _followed(controller, logs)


def _states(controller: "_Controller", pods: SimulatedPods, logs: SimulatedLogs) -> Iterator[tuple[str, Memory]]:
    yield "no job pods", controller.settled()
    running = list(range(PODS))
    pods.start(running)
    yield "followed, nothing written", _followed(controller, logs)
    pods.write(running, RECORDS)
    yield "followed, 4 KB written by each", _followed(controller, logs)
    for number in range(1, BREAKS + 1):
        logs.break_off()
        yield f"all connections broken, time {number}", _followed(controller, logs)
    for number in range(1, CHANGES + 1):
        ended, others = running[:ENDING], [running[-1] + 1 + more for more in range(ENDING)]
        pods.fail(ended, RECORDS)
        controller.wait_uploaded(number * ENDING)
        pods.delete(ended)
        pods.start(others)
        pods.write(others, RECORDS)
        running = running[ENDING:] + others
        yield f"{ENDING} ended and sent, {ENDING} others came, time {number}", _followed(controller, logs)


def _followed(controller: "_Controller", logs: SimulatedLogs) -> Memory:
    wait_for(lambda: logs.followers == PODS, _PATIENCE, f"{PODS} logs to be followed", every=0.5)
    return controller.settled()


class _Controller(SitelogProcess):
    """A controller beside the installation, which tells what it does by its metrics."""

    def __init__(self, installation: Installation, directory: Path) -> None:
        super().__init__(
            "controller",
            f"--root-namespace={NAMESPACE}",
            "--upload-image=none",
            f"--gate-role=sitelog-{NAMESPACE}-gate",
            f"--admission-policy-prefix=sitelog-{NAMESPACE}",
            f"--sweep-interval={_SWEEP}s",
            f"--max-uploads={_UPLOADS}",
            directory=directory,
            kubeconfig=installation.control_plane.service_account_kubeconfig(NAMESPACE, "sitelog-controller"),
        )
        self.ready()

    def settled(self) -> Memory:
        """Its memory after two more looks at everything."""
        for _ in range(2):
            before = self._metric("sitelog_sweep_timestamp_seconds")
            wait_for(
                lambda before=before: self._metric("sitelog_sweep_timestamp_seconds") > before,
                _PATIENCE,
                "a look at everything",
                every=0.5,
            )
        return Memory.of(self.pid)

    def wait_uploaded(self, number: int) -> None:
        """Wait until so many error logs were uploaded."""
        uploaded = 'sitelog_error_logs_total{reason="ErrorLogUploaded",result="Uploaded"}'
        wait_for(lambda: self._metric(uploaded) >= number, _PATIENCE, f"{number} uploads", every=0.5)

    def _metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0
