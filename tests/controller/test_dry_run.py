"""DryRun changes and refuses nothing, and what it tells is what Enforce then does."""

import json
from typing import Any

from support.control_plane.api import Json
from support.pods.job_pods import JobPods, job_pod
from support.sitelog.installation import Installation, configmap
from support.wait import wait_for

PATH = "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"
DECLARED = {"components": [{"id": "mine", "path": PATH}]}
UNDECIDABLE = {"components": [{"id": "mine", "path": "{$CLASS}"}]}
RESOURCES = {"format_version": 2, "client": {}, "components": []}


def bodies(namespace: str, prefix: str) -> dict[str, Json]:
    """One ConfigMap for each thing that may happen to one under a prohibition, and one to which nothing happens."""
    return {
        "declared": configmap(namespace, f"{prefix}-declared", DECLARED),
        "empty": configmap(namespace, f"{prefix}-empty", {"components": []}),
        "broken": configmap(namespace, f"{prefix}-broken", "{"),
        "undecidable": configmap(namespace, f"{prefix}-undecidable", UNDECIDABLE),
        "frozen": configmap(namespace, f"{prefix}-frozen", DECLARED, immutable=True),
        "site": configmap(namespace, f"{prefix}-site", {}, data={"resources.json": json.dumps(RESOURCES)}),
        "other": configmap(namespace, f"{prefix}-other", {}, data={"a": "b"}),
    }


def content(body: Json) -> tuple[Any, Any]:
    return body["data"], body["metadata"].get("labels")


def told(installation: Installation, namespace: str) -> dict[str, str]:
    """What the Events of a rehearsal say would become of each object."""
    events = installation.control_plane.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    words = f"DryRun of SiteLogPolicy {namespace}/site: "
    found = {e["involvedObject"]["name"]: e["message"] for e in events if e["reason"] == "DryRun"}
    assert all(message.startswith(words) for message in found.values())
    return {name: message.removeprefix(words) for name, message in found.items()}


def test_stored_configmaps(installation: Installation, namespace: str) -> None:
    api, resource = installation.control_plane.api, f"/api/v1/namespaces/{namespace}/configmaps"
    stored = {name: api.create(resource, body) for name, body in bodies(namespace, "old").items()}
    installation.policy(namespace, logStreaming="Forbidden", mode="DryRun")

    wait_for(lambda: sum(installation.status(namespace).get("wouldBe", {}).values()) == 5, 60, "the rehearsal's counts")
    would_be = installation.status(namespace)["wouldBe"]
    assert would_be == {"injected": 0, "declared": 0, "stripped": 1, "clean": 1, "unreadable": 0, "refused": 3}
    says = {
        name: message.split(". ")[0].removeprefix("would be ")
        for name, message in told(installation, namespace).items()
    }
    assert len(says) == 6
    for body in stored.values():
        now = api.get(f"{resource}/{body['metadata']['name']}")
        assert now["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]

    installation.policy(namespace, logStreaming="Forbidden")
    for name, decision in says.items():
        wait_for(
            lambda: api.get(f"{resource}/{name}")["metadata"].get("labels", {}).get("sitelog.dev/decision") == decision,  # noqa: B023 - at once
            20,
            f"ConfigMap {name} to be {decision}",
        )
    counts = installation.status(namespace)["configMaps"]
    assert (counts["stripped"], counts["clean"]) == (1, 1)
    assert "labels" not in api.get(f"{resource}/old-other")["metadata"]
    wait_for(lambda: not any(installation.status(namespace)["wouldBe"].values()), 60, "the rehearsal to be over")


def test_what_is_created(installation: Installation, pods: JobPods) -> None:
    """Warnings of a rehearsal, then the same objects under Enforce: what was told is what happens."""
    namespace, here = pods.namespace, f"--namespace={pods.namespace}"
    shell = job_pod("shell")
    shell["spec"]["containers"][0] |= {"command": ["sh", "-c"]}
    shell["spec"]["containers"][0]["args"] = [" ".join(shell["spec"]["containers"][0]["args"])]
    objects = {**bodies(namespace, "new"), "job": job_pod("job"), "shell": shell}

    def create(body: Json) -> str:
        return str(installation.control_plane.kubectl("create", "-f", "-", here, input=json.dumps(body), check=False))

    def path(body: Json) -> str:
        kind = "pods" if body["kind"] == "Pod" else "configmaps"
        return f"/api/v1/namespaces/{namespace}/{kind}/{body['metadata']['name']}"

    installation.policy(namespace, logStreaming="Forbidden", mode="DryRun")
    wait_for(
        lambda: "DryRun of" in create(objects["job"] | {"metadata": {"generateName": "probe-"}}), 60, "the warning"
    )
    warnings = {}
    for name, body in objects.items():
        said = create(body)
        assert f"/{body['metadata']['name']} created" in said
        warnings[name] = said.partition(f"Warning: DryRun of SiteLogPolicy {namespace}/site: ")[2].split("\n")[0]
        stored = pods.api.get(path(body))
        assert "labels" not in stored["metadata"]
        if body["kind"] == "ConfigMap":
            assert stored["data"] == body["data"]
        else:
            assert stored["spec"]["containers"][0]["args"] == body["spec"]["containers"][0]["args"]
        pods.api.delete(path(body), {"gracePeriodSeconds": 0})
        wait_for(lambda: not installation.control_plane.exists(path(body)), 60, f"{name} to be gone")  # noqa: B023

    installation.policy(namespace, logStreaming="Forbidden")
    for name, body in objects.items():
        said = create(body)
        if " created" not in said:
            outcome = said.partition("denied the request: ")[2].split("\n")[0]
            assert warnings[name].removeprefix("would be Refused. ") == outcome
            continue
        stored = pods.api.get(path(body))
        decision = stored["metadata"].get("labels", {}).get("sitelog.dev/decision")
        if body["kind"] == "Pod":
            assert warnings[name] == f"Pod {namespace}/{name} would be changed (StreamingForbidden)"
            assert stored["spec"]["containers"][0]["args"] != body["spec"]["containers"][0]["args"]
        elif decision:
            assert warnings[name].startswith(f"would be {decision}. ")
        else:
            assert warnings[name] == ""
            assert stored["data"] == body["data"]
    assert sum(warning != "" for warning in warnings.values()) == len(objects) - 1


def test_running_pods(installation: Installation, pods: JobPods) -> None:
    pods.run("streams")
    spec = {"logStreaming": "Forbidden", "onRevoke": "DeletePods"}
    installation.policy(pods.namespace, **spec, mode="DryRun")
    wait_for(lambda: told(installation, pods.namespace), 60, "the rehearsal's Event")
    said = f"Pod {pods.namespace}/streams would be deleted (onRevoke)"
    assert told(installation, pods.namespace) == {"streams": said}
    assert "deletionTimestamp" not in pods.api.get(f"/api/v1/namespaces/{pods.namespace}/pods/streams")["metadata"]
    assert installation.status(pods.namespace)["unstoppedPods"] == []

    installation.policy(pods.namespace, "reports", logStreaming="Forbidden")
    expected = [f"{pods.namespace}/streams"]
    wait_for(
        lambda: installation.status(pods.namespace, "reports")["unstoppedPods"] == expected,
        20,
        "the enforced one's list",
    )
    assert told(installation, pods.namespace) == {"streams": said}
    installation.policy(pods.namespace, **spec)
    wait_for(lambda: "JobPodRemoved" in pods.events("streams"), 60, "the deletion")
