"""Job pods whose error log will be sent, on their way into a real API server: held, and with a sidecar."""

import copy
import json
from typing import Any

import pytest

from sitelog.core.names import FINALIZER_ERROR_LOG, FORBIDDING_ARGUMENT, SIDECAR
from sitelog.kube.sidecar import sidecar
from support.control_plane.api import Json
from support.pods.job_pods import job_pod
from support.sitelog.installation import Installation
from support.wait import wait_for

ENABLED = {"upload": "Enabled", "courierSecretName": "courier"}
INIT = {"name": "first", "image": "busybox:1", "command": ["true"], "resources": {}}
LIMITS = {"cpu": "1", "memory": "384Mi", "ephemeral-storage": "1Gi"}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def here(installation: Installation, namespace: str) -> str:
    """A namespace under a policy that sends error logs."""
    installation.policy(namespace, clientName="site-1", errorLog=ENABLED)
    return namespace


def create(installation: Installation, namespace: str, pod: Json) -> tuple[Json, str]:
    """Create a pod; give it as it is stored, and kubectl's words."""
    said = installation.control_plane.kubectl(
        "create", "-f", "-", f"--namespace={namespace}", input=json.dumps(pod), check=False
    )
    path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
    assert installation.control_plane.exists(path), said
    return installation.control_plane.api.get(path), said


def finalizers(pod: Json) -> list[str]:
    return list(pod["metadata"].get("finalizers", []))


def init_names(pod: Json) -> list[str]:
    return [container["name"] for container in pod["spec"].get("initContainers", [])]


def changed_job(name: str, **container: Any) -> Json:
    pod = job_pod(name)
    pod["spec"]["containers"][0] |= container
    return pod


def test_a_job_pod_gets_the_sidecar_and_is_held(installation: Installation, here: str) -> None:
    pod = job_pod("launched")
    stored, said = create(installation, here, pod)

    assert said == "pod/launched created\n"
    assert finalizers(stored) == [FINALIZER_ERROR_LOG]
    (found,) = stored["spec"]["initContainers"]
    expected = sidecar(pod)
    assert expected is not None
    assert (found["name"], found["restartPolicy"]) == (SIDECAR, "Always")
    # The service account's token is mounted by the API server, not by us.
    assert {key: found[key] for key in expected} == {**expected, "volumeMounts": found["volumeMounts"]}
    assert expected["volumeMounts"][0] in found["volumeMounts"]
    (before,), (after,) = pod["spec"]["containers"], stored["spec"]["containers"]
    assert {key: after[key] for key in before} == {**before, "volumeMounts": after["volumeMounts"]}
    assert stored["metadata"]["labels"]["sitelog.dev/client"] == "site-1"


def test_where_only_the_error_log_may_leave_it_gets_the_word_too(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, logStreaming="ErrorLogOnly", clientName="site-1", errorLog=ENABLED)
    pod = job_pod("launched")
    pod["spec"]["initContainers"] = [{**pod["spec"]["containers"][0], "name": "first"}]
    stored, said = create(installation, namespace, pod)

    assert said == "pod/launched created\n"
    assert finalizers(stored) == [FINALIZER_ERROR_LOG]
    assert init_names(stored) == ["first", SIDECAR]
    for container in (stored["spec"]["initContainers"][0], stored["spec"]["containers"][0]):
        assert container["args"][-1] == FORBIDDING_ARGUMENT


def test_where_the_containers_output_is_enough_it_is_held_only(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, clientName="site-1", errorLog={**ENABLED, "capture": "ContainerLog"})
    stored, said = create(installation, namespace, job_pod("launched"))
    assert said == "pod/launched created\n"
    assert finalizers(stored) == [FINALIZER_ERROR_LOG]
    assert init_names(stored) == []


def test_where_a_sidecar_could_read_nothing_it_is_held_and_its_owner_is_told(
    installation: Installation, here: str
) -> None:
    stored, said = create(installation, here, changed_job("bare", volumeMounts=[]))
    assert (
        f"Warning: Pod {here}/bare: its error log is taken from its container's output, because its workspace is on no"
        " volume that a sidecar could read"
    ) in said
    assert finalizers(stored) == [FINALIZER_ERROR_LOG]
    assert init_names(stored) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"clientName": "site-1", "errorLog": {"upload": "Disabled"}},
        {"clientName": "site-1"},
        {"clientName": "site-1", "logStreaming": "Forbidden", "errorLog": ENABLED},
        {"clientName": "site-1", "logStreaming": "ErrorLogOnly"},
        {"clientName": "site-2", "errorLog": ENABLED},
        {"clientName": "site-1", "mode": "DryRun", "errorLog": ENABLED},
    ],
    ids=["disabled", "unsaid", "forbidden", "unsaid-error-log-only", "foreign", "rehearsed"],
)
def test_a_pod_whose_error_log_is_not_sent_gets_neither(
    installation: Installation, namespace: str, spec: dict[str, Any]
) -> None:
    installation.policy(namespace, **spec)
    if "mode" in spec:  # an enforced one tells that the webhook knows the other as well
        installation.policy(namespace, "zz-last", logStreaming="Allowed")
    stored, said = create(installation, namespace, job_pod("launched"))
    assert finalizers(stored) == []
    assert init_names(stored) == []
    assert ("DryRun of SiteLogPolicy" in said) is ("mode" in spec)


def test_a_pod_that_runs_no_job_gets_neither(installation: Installation, here: str) -> None:
    pod = changed_job("other", command=["sleep"], args=["1"])
    stored, _ = create(installation, here, pod)
    assert finalizers(stored) == init_names(stored) == []


def test_what_the_pod_had_stays_and_comes_first(installation: Installation, here: str) -> None:
    pod = job_pod("launched")
    pod["metadata"]["finalizers"] = ["example.com/theirs"]
    pod["spec"]["initContainers"] = [INIT, {**INIT, "name": "beside", "restartPolicy": "Always"}]
    stored, _ = create(installation, here, pod)
    assert init_names(stored) == ["first", "beside", SIDECAR]
    assert finalizers(stored) == ["example.com/theirs", FINALIZER_ERROR_LOG]
    # So that the namespace can go.
    installation.control_plane.api.patch(
        f"/api/v1/namespaces/{here}/pods/launched", {"metadata": {"finalizers": [FINALIZER_ERROR_LOG]}}
    )


def test_a_pod_that_has_it_gets_no_second_one(installation: Installation, here: str) -> None:
    """A manifest that was read from the cluster is created again."""
    first, _ = create(installation, here, job_pod("first"))
    again: Json = {
        **{key: first[key] for key in ("apiVersion", "kind")},
        "metadata": {"name": "again", **{key: first["metadata"][key] for key in ("labels", "finalizers")}},
        "spec": copy.deepcopy(first["spec"]),
    }
    second, said = create(installation, here, again)
    assert said == "pod/again created\n"
    assert second["spec"] == first["spec"]
    assert finalizers(second) == [FINALIZER_ERROR_LOG]


def test_restricted_pod_security_takes_the_pod_of_a_job_that_is_restricted(
    installation: Installation, here: str
) -> None:
    installation.control_plane.kubectl("label", "namespace", here, "pod-security.kubernetes.io/enforce=restricted")
    stored, said = create(installation, here, changed_job("restricted", securityContext=RESTRICTED))
    assert said == "pod/restricted created\n"
    assert stored["spec"]["initContainers"][0]["securityContext"] == RESTRICTED

    in_the_pod = job_pod("whole-pod")
    rest = {key: RESTRICTED[key] for key in ("allowPrivilegeEscalation", "capabilities")}
    in_the_pod["spec"]["containers"][0]["securityContext"] = rest
    in_the_pod["spec"]["securityContext"] = {key: RESTRICTED[key] for key in ("runAsNonRoot", "seccompProfile")}
    stored, said = create(installation, here, in_the_pod)
    assert said == "pod/whole-pod created\n"
    assert init_names(stored) == [SIDECAR]


def test_a_quota_that_wants_every_container_to_name_its_resources_takes_it(
    installation: Installation, here: str
) -> None:
    api, kubectl = installation.control_plane.api, installation.control_plane.kubectl
    resources = ("cpu", "memory", "ephemeral-storage")
    hard = {f"{kind}.{name}": "8Gi" for kind in ("limits", "requests") for name in resources}
    quota = {"metadata": {"name": "all"}, "spec": {"hard": hard}}
    api.create(f"/api/v1/namespaces/{here}/resourcequotas", quota)
    # As the quota controller, which does not run here, does: then the API server goes by it.
    status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    api.patch(f"/api/v1/namespaces/{here}/resourcequotas/all/status", {"status": status})

    def refused() -> str:
        arguments = ("create", "-f", "-", "--dry-run=server", f"--namespace={here}")
        return kubectl(*arguments, input=json.dumps(job_pod("less")), check=False)

    wait_for(lambda: "must specify limits.cpu for: container-" in refused(), 60, "the quota to be in force")

    stored, said = create(installation, here, changed_job("full", resources={"limits": LIMITS, "requests": LIMITS}))
    assert said == "pod/full created\n"
    assert init_names(stored) == [SIDECAR]


def test_a_guaranteed_pod_stays_one(installation: Installation, here: str) -> None:
    classes = {
        "Guaranteed": {"limits": LIMITS, "requests": LIMITS},
        "Burstable": {"limits": {"memory": "1Gi"}},
    }
    for name, resources in classes.items():
        stored, _ = create(installation, here, changed_job(name.lower(), resources=resources))
        assert init_names(stored) == [SIDECAR]
        assert stored["status"]["qosClass"] == name
