"""Every way in which a job pod ends: the FL server has what the job wrote, byte for byte, and how it ended."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from sitelog.core.names import ANNOTATION_UPLOAD, FINALIZER_ERROR_LOG
from support.control_plane.api import ApiError, Json
from support.federation.provisioning import SITE
from support.kind.ending_jobs import EndingJobs
from support.kind.kind import Cluster
from support.kind.site_on_kind import Site
from support.kind.sitelog_on_kind import SitelogOnKind
from support.kind.witness import Witness
from support.sitelog.installation import NAMESPACE as RELEASE
from support.wait import wait_for

ERROR_LOG = f"ERRORLOG_{SITE}"
TIME = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,000"


@dataclass
class Run:
    """One job on its way."""

    job_id: str
    pod: Json = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.pod['metadata']['namespace']}/pods/{self.pod['metadata']['name']}"


@dataclass
class Ends:
    """Starts jobs, and says what is on the server of one."""

    cluster: Cluster
    sitelog: SitelogOnKind
    site: Site
    jobs: EndingJobs
    witness: Witness
    job_pod: Callable[[str], Json]

    def run(self, folder: object) -> Run:
        run = Run(self.site.submit(folder))  # type: ignore[arg-type]
        run.pod = self.job_pod(run.job_id)
        return run

    def wait_written(self, run: Run, count: int) -> None:
        """Wait until a job has written its error records."""
        wait_for(lambda: self.wrote(run).count(b" - ERROR - record ") == count, 60, "the records", every=0.3)

    def wrote(self, run: Run) -> bytes:
        return self.witness.wrote(run.pod["metadata"]["uid"]).get(run.job_id, b"")

    def check(self, run: Run, closing: str, *, records: int, seconds: float = 90, notice: str = "") -> None:
        """Compare what is stored with what the job wrote, all of it.

        Parameters
        ----------
        closing : the pattern of the closing record, or empty.
        notice : what Sitelog may say of the log before that, though all is there.
        """
        pattern = b""
        if closing:
            subject = re.escape(f"{run.pod['metadata']['namespace']}/{run.pod['metadata']['name']}")
            pattern = TIME + f" - sitelog - CRITICAL - Pod {subject}: {closing}\n".encode()
        if notice:
            said = TIME + f" - sitelog - ERROR - Pod {subject}: the job's own error log is {notice}\n".encode()
            pattern = b"(?:" + said + b")?" + pattern
        seen: list[bytes] = []

        def right() -> bool:
            seen.append(self.site.stored(run.job_id).get(ERROR_LOG, b""))
            wrote = self.wrote(run)
            own, rest = seen[-1][: len(wrote)], seen[-1][len(wrote) :]
            return wrote.count(b" - ERROR - record ") == records and own == wrote and bool(re.fullmatch(pattern, rest))

        try:
            wait_for(right, seconds, f"the error log of {run.pod['metadata']['name']}", every=0.5)
        except TimeoutError as error:
            raise AssertionError(f"{error}\nwritten: {self.wrote(run)!r}\nstored: {seen[-1]!r}") from None
        self.check_let_go(run)

    def check_let_go(self, run: Run) -> None:
        """Look that the pod is not held any longer, and says what became of its error log if it is there."""

        def let_go() -> bool:
            try:
                metadata = self.cluster.api.get(run.path)["metadata"]
            except ApiError as error:
                return error.status == 404
            held = FINALIZER_ERROR_LOG in metadata.get("finalizers", ())
            return not held and metadata["annotations"].get(ANNOTATION_UPLOAD) == "Uploaded"

        wait_for(let_go, 30, f"{run.pod['metadata']['name']} to be let go")

    def delete(self, run: Run, grace: int | None = None) -> None:
        self.cluster.api.delete(run.path, None if grace is None else {"gracePeriodSeconds": grace})

    def kill_controller(self) -> None:
        """End all of the controller's pods without a warning; their Deployment makes others."""
        here = f"--namespace={RELEASE}"
        which = "--selector=app.kubernetes.io/component=controller"
        self.cluster.kubectl("delete", "pods", which, here, "--grace-period=0", "--force")

    def wait_followed(self, count: int) -> None:
        """Wait until one controller follows so many error logs."""
        self.wait_controller()

        def followed() -> bool:
            try:
                metrics = self.sitelog.metrics("controller")
            except (ApiError, OSError):
                return False  # one of these pods is just ending
            found = re.findall(r"^sitelog_error_logs_followed (\S+)$", metrics, re.MULTILINE)
            return max(map(float, found), default=0) >= count

        wait_for(followed, 60, f"{count} error logs to be followed", every=0.3)

    def wait_controller(self) -> None:
        self.cluster.kubectl("rollout", "status", "deployment/sitelog-controller", f"-n{RELEASE}", "--timeout=90s")


@pytest.fixture
def ends(
    cluster: Cluster,
    sitelog: SitelogOnKind,
    site: Site,
    jobs: EndingJobs,
    witness: Witness,
    job_pod: Callable[[str], Json],
) -> Iterator[Ends]:
    ends = Ends(cluster, sitelog, site, jobs, witness, job_pod)
    yield ends
    ends.wait_controller()


def test_jobs_that_end_by_themselves(ends: Ends) -> None:
    raised = ends.run(ends.jobs.raises(errors=3))
    code = ends.run(ends.jobs.exit_code(errors=3))
    refused = ends.run(ends.jobs.bad_config(errors=3))
    hungry = ends.run(ends.jobs.oom(errors=3))
    ends.check(raised, "", records=3)
    ends.check(code, "Error: the process ended with exit code 3", records=3)
    ends.check(refused, "Error: the process ended with exit code 103", records=3)
    # The container runtime misses an OOM event now and then; then nobody is told of more than the signal.
    told = r"OOMKilled: the container ran out of memory and was killed|Signalled: the process was ended by signal 9"
    ends.check(hungry, rf"(?:{told}) \(.*\)", records=3)


def test_jobs_that_never_run(ends: Ends) -> None:
    no_image = ends.run(ends.jobs.no_image())
    nowhere = ends.run(ends.jobs.unschedulable())
    ends.check(no_image, r"ImagePull: the image could not be pulled \(.*registry\.invalid/fl-job:1.*\)", records=0)
    ends.check(nowhere, r"Unschedulable: no node could take the pod \(.*[Ii]nsufficient memory.*\)", records=0)


def test_aborted_jobs(ends: Ends) -> None:
    """The launcher deletes the pod of one that does not heed it, without grace."""
    heeds, ignores = ends.run(ends.jobs.sleeps(errors=3)), ends.run(ends.jobs.stuck(errors=3))
    for run in (heeds, ignores):
        ends.wait_written(run, 3)
        ends.site.abort(run.job_id)
    ends.check(heeds, "", records=3)
    ends.check(ignores, "Deleted: the pod was deleted while the job was running, exit code 137", records=3)


def test_pods_that_somebody_ends(ends: Ends) -> None:
    deleted, evicted, full = (ends.run(ends.jobs.stuck(errors=3)) for _ in range(3))
    for run in (deleted, evicted, full):
        ends.wait_written(run, 3)
    ends.delete(deleted, grace=0)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": evicted.pod["metadata"]["name"]}}
    ends.cluster.api.create(f"{evicted.path}/eviction", {**eviction, "deleteOptions": {"gracePeriodSeconds": 1}})
    fill = ("sh", "-c", "head -c 200M /dev/zero > /var/tmp/nvflare/workspace/fills-the-disk")
    where = (full.pod["metadata"]["name"], f"--namespace={ends.site.namespace}")
    ends.cluster.kubectl("exec", *where, "--container", full.pod["spec"]["containers"][0]["name"], "--", *fill)
    ends.check(deleted, "Deleted: the pod was deleted while the job was running, exit code 137", records=3)
    ends.check(evicted, r"Evicted: the pod was deleted while the job was running.*\(EvictionByEvictionAPI\)", records=3)
    ends.check(
        full,
        # The kubelet says Failed before it says how the containers ended, and may take its time for that.
        r"Evicted: the pod (was stopped, exit code 137|ended as Failed) \(Evicted: .* exceeds the limit .*\)",
        records=3,
        seconds=150,
        # The kubelet gives it a second; on a busy node the sidecar does not come to its last word in that.
        notice="partial: its copying was cut off, so its last records may be missing",
    )


def test_a_controller_that_is_killed_while_jobs_run_and_end(ends: Ends) -> None:
    before, during = ends.run(ends.jobs.stuck(errors=3)), ends.run(ends.jobs.stuck(errors=3))
    for run in (before, during):
        ends.wait_written(run, 3)
    ends.kill_controller()
    ends.wait_followed(2)
    ends.delete(before, grace=0)
    ends.check(before, "Deleted: the pod was deleted while the job was running, exit code 137", records=3)
    ends.kill_controller()
    ends.delete(during, grace=30)
    ends.check(during, "Deleted: the pod was deleted while the job was running, exit code 137", records=3)


def test_the_fl_server_is_away(ends: Ends) -> None:
    run = ends.run(ends.jobs.stuck(errors=3))
    ends.wait_written(run, 3)
    ends.site.stop_server()
    ends.delete(run, grace=0)
    uploads = f"/apis/batch/v1/namespaces/{ends.site.namespace}/jobs"
    wait_for(
        lambda: any(
            job["metadata"]["annotations"]["sitelog.dev/job-id"] == run.job_id and job["status"].get("active")
            for job in ends.cluster.api.get(uploads)["items"]
        ),
        60,
        "the upload to be tried",
    )
    ends.site.start_server()
    ends.check(run, "Deleted: the pod was deleted while the job was running, exit code 137", records=3, seconds=150)
