"""The gate in the FL client of a site that NVFlare's own chart deploys as it is: a line of the policy puts it there."""

import base64
import json
import re
from collections.abc import Callable, Iterator

import pytest

from sitelog.core.names import (
    ANNOTATION_JOB_ID,
    ANNOTATION_UPLOAD,
    ANNOTATION_UPLOAD_REASON,
    CLIENT_MODULE,
    FORBIDDING_ARGUMENT,
    GATE,
    GATE_FOLDER,
    GATE_INJECTED,
    LABEL_CLIENT,
    LABEL_DECISION,
    LABEL_GATE,
    LABEL_JOB,
    LABEL_MANAGED,
    Reason,
)
from support.control_plane.api import Json
from support.federation.provisioning import SITE
from support.kind.ending_jobs import EndingJobs
from support.kind.images import SITE as SITE_IMAGE
from support.kind.kind import Cluster
from support.kind.site_on_kind import Site, govern
from support.kind.sitelog_on_kind import SitelogOnKind
from support.wait import wait_for

STREAMED = f"LOG_log.txt_{SITE}"


def test_the_client_has_the_gate_and_no_right_beyond_its_own(cluster: Cluster, site: Site) -> None:
    pod = site.client_pod()
    (client,) = pod["spec"]["containers"]
    template = cluster.api.get(f"/apis/apps/v1/namespaces/{site.namespace}/deployments/{SITE}")["spec"]["template"]
    assert CLIENT_MODULE in template["spec"]["containers"][0]["args"]
    assert GATE not in json.dumps(template)
    assert pod["metadata"]["labels"][LABEL_GATE] == GATE_INJECTED
    assert [each["name"] for each in pod["spec"]["initContainers"]] == [GATE]
    assert GATE_FOLDER in client["args"]
    assert (client["image"], pod["spec"]["serviceAccountName"]) == (SITE_IMAGE.name, SITE)

    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/rolebindings"
    (binding,) = cluster.api.get(bindings, labelSelector=f"{LABEL_GATE}={GATE_INJECTED}")["items"]
    assert [(each["kind"], each["namespace"], each["name"]) for each in binding["subjects"]] == [
        ("ServiceAccount", site.namespace, SITE)
    ]
    verbs = ("create", "get", "update", "list", "watch", "patch", "delete")
    assert [verb for verb in verbs if may(cluster, site, SITE, verb)] == ["create", "get", "update"]
    assert [verb for verb in verbs if may(cluster, site, "default", verb)] == []  # the account of jobs


def test_a_job_that_declares_no_streamer_gets_one_and_its_log_streams_live(
    cluster: Cluster, site: Site, jobs: EndingJobs, job_pod: Callable[[str], Json]
) -> None:
    job_id = site.submit(jobs.ok(rounds=6, seconds=0.5))
    pod = job_pod(job_id)
    assert (pod["metadata"]["labels"][LABEL_JOB], pod["metadata"]["labels"][LABEL_CLIENT]) == (job_id, SITE)
    assert decision(cluster, site, job_id) == "Injected"

    wait_for(lambda: b"round 1: mean weight 1.0\n" in site.live(job_id).get("log.txt", b""), 60, "the first round")
    assert site.status(job_id) == "RUNNING"

    assert site.wait_ended(job_id) == "FINISHED:COMPLETED"
    stored = wait_for(lambda: site.stored(job_id), 30, "the streamed log")
    assert set(stored) == {STREAMED}
    rounds = re.findall(rb"Worker - INFO - round (\d+): mean weight", stored[STREAMED])
    assert [int(number) for number in rounds] == list(range(1, 7))
    result = wait_for(lambda: annotations(site, job_id).get(ANNOTATION_UPLOAD), 30, "the look at its error log")
    assert result == "Skipped"


@pytest.fixture
def forbidden(cluster: Cluster, sitelog: SitelogOnKind, site: Site) -> Iterator[None]:
    """A policy that forbids; afterwards the site is as it was."""
    before = resources(cluster, site)
    govern(sitelog, "Forbidden")
    yield
    govern(sitelog)
    wait_for(lambda: resources(cluster, site) == before, 30, "the site's own resources to be as they were")


@pytest.mark.usefixtures("forbidden")
def test_under_a_prohibition_nothing_of_any_log_leaves_the_site(
    cluster: Cluster, site: Site, jobs: EndingJobs, job_pod: Callable[[str], Json]
) -> None:
    declares, raises = site.submit(jobs.ok(streams=True)), site.submit(jobs.raises(errors=3))
    for job_id, taken in ((declares, "Stripped"), (raises, "Clean")):
        assert job_pod(job_id)["spec"]["containers"][0]["args"][-1] == FORBIDDING_ARGUMENT
        assert decision(cluster, site, job_id) == taken
    assert site.wait_ended(declares) == "FINISHED:COMPLETED"
    assert site.wait_ended(raises) == "FINISHED:EXECUTION_EXCEPTION"

    for job_id in (declares, raises):
        reason = wait_for(lambda: annotations(site, job_id).get(ANNOTATION_UPLOAD_REASON), 30, "the reason")  # noqa: B023 - at once
        assert reason is not None
        assert reason.startswith(f"{Reason.UPLOAD_FORBIDDEN.value}: ")
        # NVFlare's own SiteLogStreamer, in the client's process, asks before a job is launched and when it has ended.
        obeyed = f"job {job_id}: this process sends nothing of its logs"
        wait_for(lambda: site.client_log().count(obeyed) == 2, 30, "the client to obey")  # noqa: B023
        assert site.stored(job_id) == site.live(job_id) == {}


def resources(cluster: Cluster, site: Site) -> Json:
    """Read the site's resources.json."""
    files = cluster.api.get(f"/api/v1/namespaces/{site.namespace}/configmaps/nvflare-local-{SITE}")["binaryData"]
    (content,) = (content for name, content in files.items() if name.endswith("-resources.json.default"))
    return dict(json.loads(base64.b64decode(content)))


def annotations(site: Site, job_id: str) -> dict[str, str]:
    """Read the annotations of a job's pod."""
    pod = site.job_pod(job_id) or {"metadata": {}}
    return dict(pod["metadata"].get("annotations", {}))


def decision(cluster: Cluster, site: Site, job_id: str) -> str:
    """Say what a person reads about a job's ConfigMap."""
    where = f"/api/v1/namespaces/{site.namespace}/configmaps"
    (name,) = [
        each["metadata"]["name"]
        for each in cluster.api.get(where, labelSelector=LABEL_MANAGED)["items"]
        if each["metadata"]["annotations"].get(ANNOTATION_JOB_ID) == job_id
    ]
    columns = ("-l", LABEL_MANAGED, "-L", LABEL_DECISION, "--no-headers")
    lines = cluster.kubectl("get", "cm", f"--namespace={site.namespace}", *columns).splitlines()
    return {line.split()[0]: line.split()[-1] for line in lines}[name]


def may(cluster: Cluster, site: Site, account: str, verb: str) -> bool:
    """Ask whether a ServiceAccount may do this to ConfigMaps."""
    user = f"--as=system:serviceaccount:{site.namespace}:{account}"
    here = f"--namespace={site.namespace}"
    return cluster.kubectl("auth", "can-i", verb, "configmaps", user, here, check=False).splitlines()[0] == "yes"
