"""What Sitelog leaves in a site's namespace: read after all other tests, and of their uploads."""

from datetime import datetime, timedelta

import pytest

from sitelog.core.names import FINALIZER_ERROR_LOG, LABEL_UPLOAD
from support.control_plane.api import Json
from support.kind.kind import Cluster
from support.kind.site_on_kind import TTL, Site
from support.kind.sitelog_on_kind import SitelogOnKind
from support.wait import wait_for

SLOW = timedelta(seconds=60)  # for the cluster's own controllers


def test_uploads_leave_nothing_behind_after_their_time(cluster: Cluster, sitelog: SitelogOnKind, site: Site) -> None:
    if not sitelog.status(site.namespace)["uploads"]["uploaded"]:
        pytest.skip("no test has uploaded anything before")
    jobs = f"/apis/batch/v1/namespaces/{site.namespace}/jobs"
    core = f"/api/v1/namespaces/{site.namespace}"

    def uploads(path: str) -> list[Json]:
        return list(cluster.api.get(path, labelSelector=LABEL_UPLOAD)["items"])

    probe = cluster.api.create(f"{core}/configmaps?dryRun=All", {"metadata": {"name": "what-time-is-it"}})
    now = time_of(probe["metadata"]["creationTimestamp"])
    overdue = [
        job["metadata"]["name"] for job in uploads(jobs) if ended_at(job, now) + timedelta(seconds=TTL) + SLOW < now
    ]
    assert overdue == []

    def orphans() -> list[str]:
        there = {job["metadata"]["uid"] for job in uploads(jobs)}
        return [
            each["metadata"]["name"]
            for kind in ("secrets", "pods")
            for each in uploads(f"{core}/{kind}")
            if not {owner["uid"] for owner in each["metadata"].get("ownerReferences", ())} & there
        ]

    wait_for(lambda: not orphans(), SLOW.seconds, "Secrets and pods to go with their Jobs", every=1)
    pods = cluster.api.get(f"{core}/pods")["items"]
    ended = [pod for pod in pods if pod["status"]["phase"] in ("Succeeded", "Failed")]
    assert [
        each["metadata"]["name"] for each in ended if FINALIZER_ERROR_LOG in each["metadata"].get("finalizers", ())
    ] == []


def ended_at(job: Json, now: datetime) -> datetime:
    """Say when a Job was finished; one that is not is finished now."""
    ends = [each for each in job["status"].get("conditions", ()) if each["type"] in ("Complete", "Failed")]
    return time_of(ends[0]["lastTransitionTime"]) if ends else now


def time_of(text: str) -> datetime:
    """Read a time of the API."""
    return datetime.fromisoformat(text)
