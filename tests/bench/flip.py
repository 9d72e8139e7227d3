"""A policy is turned to Forbidden: how long until every stored configuration of its scope is clean."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from support.control_plane.api import Json
from support.federation.jobs import JOB_LOG_STREAMER, client_config
from support.sitelog.installation import Installation, configmap
from support.wait import wait_for

GOAL = 5.0  # seconds
NUMBER = 1_000
_NAMESPACE = "bench-flip"
_POLICY = f"/apis/sitelog.dev/v1alpha1/namespaces/{_NAMESPACE}/sitelogpolicies/site"
_CONFIGMAPS = f"/api/v1/namespaces/{_NAMESPACE}/configmaps"


def measure(installation: Installation) -> float:
    """Store the ConfigMaps under a policy that allows, turn it, and give the seconds until all of them are clean."""
    api = installation.control_plane.api
    installation.control_plane.kubectl("create", "namespace", _NAMESPACE)
    installation.policy(_NAMESPACE, logStreaming="Allowed")
    declared = client_config(components=[JOB_LOG_STREAMER])
    with ThreadPoolExecutor(4) as pool:
        jobs = (configmap(_NAMESPACE, f"job-{number}", declared) for number in range(NUMBER))
        list(pool.map(lambda job: api.create(_CONFIGMAPS, job), jobs))

    started = time.perf_counter()
    api.patch(_POLICY, {"spec": {"logStreaming": "Forbidden"}})
    not_yet = "sitelog.dev/managed,sitelog.dev/decision!=Stripped"
    # Not asked too often: the answer costs the API server something, too.
    wait_for(lambda: not api.get(_CONFIGMAPS, labelSelector=not_yet, limit="1")["items"], 120, "all clean", every=0.2)
    seconds = time.perf_counter() - started

    stored = [item for item in api.get(_CONFIGMAPS)["items"] if item["metadata"]["name"].startswith("job-")]
    dirty = [item["metadata"]["name"] for item in stored if _components(item)]
    if len(stored) != NUMBER or dirty:
        raise RuntimeError(f"{len(dirty)} of {len(stored)} ConfigMaps still have a streamer")
    installation.control_plane.kubectl("delete", "namespace", _NAMESPACE, "--wait=false")
    return seconds


def _components(item: Json) -> list[Json]:
    components: list[Json] = json.loads(item["data"]["config_fed_client.json"])["components"]
    return components
