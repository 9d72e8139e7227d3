"""A site as NVFlare's own charts deploy it, with Sitelog beside it: jobs run, stream, fail and die as real pods."""

import re
from collections.abc import Callable

from sitelog.core.names import ANNOTATION_UPLOAD, ANNOTATION_UPLOAD_REASON, LABEL_CLIENT, LABEL_JOB, LABEL_UPLOAD
from support.control_plane_api import Json
from support.ending_jobs import EndingJobs
from support.kind import Cluster
from support.provisioning import SITE
from support.site_on_kind import Site
from support.wait import wait_for

ERROR_LOG = f"ERRORLOG_{SITE}"
STREAMED = f"LOG_log.txt_{SITE}"
TIME = rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


def records(count: int) -> bytes:
    """A pattern for the records that a job wrote."""
    return b"".join(rb"%s - Worker - ERROR - record %d of %d\n" % (TIME, n, count) for n in range(1, count + 1))


def test_a_job_runs_to_its_end_and_its_log_streams_live(
    site: Site, jobs: EndingJobs, job_pod: Callable[[str], Json]
) -> None:
    job_id = site.submit(jobs.ok(rounds=10, seconds=0.5, streams=True))
    pod = job_pod(job_id)
    assert (pod["metadata"]["labels"][LABEL_JOB], pod["metadata"]["labels"][LABEL_CLIENT]) == (job_id, SITE)

    wait_for(lambda: b"round 1: mean weight 1.0\n" in site.live(job_id).get("log.txt", b""), 60, "the first round")
    assert site.status(job_id) == "RUNNING"

    assert site.wait_ended(job_id) == "FINISHED:COMPLETED"
    stored = wait_for(lambda: site.stored(job_id), 30, "the streamed log")
    assert set(stored) == {STREAMED}
    rounds = re.findall(rb"Worker - INFO - round (\d+): mean weight", stored[STREAMED])
    assert [int(number) for number in rounds] == list(range(1, 11))
    skipped = wait_for(lambda: annotation(site, job_id, ANNOTATION_UPLOAD), 30, "the look at its error log")
    assert skipped == "Skipped"


def test_the_error_log_of_an_executor_that_raises_is_stored(site: Site, jobs: EndingJobs) -> None:
    job_id = site.submit(jobs.raises(errors=3))
    assert site.wait_ended(job_id) == "FINISHED:EXECUTION_EXCEPTION"
    log = wait_for(lambda: site.stored(job_id).get(ERROR_LOG), 60, "its error log")
    assert log is not None
    assert re.match(records(3), log)
    assert b"RuntimeError: this worker was told to fail\n" in log


def test_the_error_log_of_a_job_that_ran_out_of_memory_is_stored_and_nothing_is_left(
    cluster: Cluster, site: Site, jobs: EndingJobs
) -> None:
    job_id = site.submit(jobs.oom(errors=3))
    assert site.wait_ended(job_id) == "FINISHED:ABORTED"
    log = wait_for(lambda: site.stored(job_id).get(ERROR_LOG), 60, "its error log")
    assert log is not None
    pod = site.job_pod(job_id)
    assert pod is not None
    subject = f"{site.namespace}/{pod['metadata']['name']}".encode()
    killed = rb"OOMKilled: the container ran out of memory and was killed \(.*\)"
    assert re.fullmatch(records(3) + rb"%s - sitelog - CRITICAL - Pod %s: %s\n" % (TIME, subject, killed), log)

    result = wait_for(lambda: annotation(site, job_id, ANNOTATION_UPLOAD_REASON), 30, "the result on the pod")
    assert re.fullmatch(rf"ErrorLogUploaded: .*\b{len(log)} bytes\b.*", result)
    for kind in ("apis/batch/v1/namespaces/{}/jobs", "api/v1/namespaces/{}/pods", "api/v1/namespaces/{}/secrets"):
        path = f"/{kind.format(site.namespace)}"
        selector = f"{LABEL_UPLOAD}=true,{LABEL_JOB}={job_id}"
        wait_for(lambda: not cluster.api.get(path, labelSelector=selector)["items"], 120, f"{path} to be empty")  # noqa: B023 - at once
    assert not pod["metadata"].get("finalizers")


def annotation(site: Site, job_id: str, name: str) -> str:
    """Read an annotation of a job's pod."""
    pod = site.job_pod(job_id) or {"metadata": {}}
    return str(pod["metadata"].get("annotations", {}).get(name, ""))
