"""Job pods that were running before a prohibition: named, and removed where the policy wants it."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from sitelog.core.names import FORBIDDING_ARGUMENT, FORBIDDING_VALUE, FORBIDDING_VARIABLE
from support.control_plane.api import ApiError
from support.pods.job_pods import JobPods, job_pod
from support.sitelog.installation import NAMESPACE, Installation
from support.wait import wait_for


def unstopped(installation: Installation, namespace: str, name: str = "site") -> list[str]:
    return list(installation.status(namespace, name).get("unstoppedPods", []))


def wait_unstopped(installation: Installation, pods: JobPods, *names: str) -> None:
    expected = [f"{pods.namespace}/{name}" for name in names]
    wait_for(lambda: unstopped(installation, pods.namespace) == expected, 60, f"the list of unstopped pods: {expected}")


def ready(installation: Installation, namespace: str) -> tuple[str, str, str]:
    condition = installation.ready(namespace)
    return condition["status"], condition["reason"], condition["message"]


def exists(pods: JobPods, name: str) -> bool:
    found = pods.api.get(f"/api/v1/namespaces/{pods.namespace}/pods")["items"]
    return name in [pod["metadata"]["name"] for pod in found]


def run_with_word(pods: JobPods, name: str) -> None:
    pod = job_pod(name)
    (container,) = pod["spec"]["containers"]
    container["args"].append(FORBIDDING_ARGUMENT)
    container.setdefault("env", []).append({"name": FORBIDDING_VARIABLE, "value": FORBIDDING_VALUE})
    pods.api.create(f"/api/v1/namespaces/{pods.namespace}/pods", pod)
    pods.kubelet.set_running(pods.namespace, name)


def run_everything(pods: JobPods) -> None:
    """Start a pod that streams, one whose init container does, and one of each sort that does not."""
    pods.run("streams")
    run_with_word(pods, "quiet")
    pods.run("ended")
    pods.end("ended")
    other = job_pod("other")
    other["spec"]["containers"][0] |= {"command": ["sleep"], "args": ["1"]}
    pods.api.create(f"/api/v1/namespaces/{pods.namespace}/pods", other)
    pods.kubelet.set_running(pods.namespace, "other")
    first = job_pod("streams-first")
    first["spec"]["initContainers"] = [{**first["spec"]["containers"][0], "name": "first"}]
    first["spec"]["containers"][0] |= {"command": ["sleep"], "args": ["1"]}
    pods.api.create(f"/api/v1/namespaces/{pods.namespace}/pods", first)


def test_running_pods_are_reported_until_they_end(installation: Installation, pods: JobPods) -> None:
    run_everything(pods)
    installation.policy(pods.namespace, logStreaming="Forbidden")

    wait_unstopped(installation, pods, "streams", "streams-first")
    assert pods.events("streams")["StreamingNotStopped"] == (
        f"Pod {pods.namespace}/streams was started before SiteLogPolicy {pods.namespace}/site forbade log streaming,"
        " and may stream until it ends; delete it, or set spec.onRevoke: DeletePods"
    )
    for name in ("quiet", "ended", "other"):
        assert "StreamingNotStopped" not in pods.events(name)
    names = f"{pods.namespace}/streams, {pods.namespace}/streams-first"
    message = (
        f"job pods started before this policy are still streaming: {names}; delete them, or set onRevoke: DeletePods"
    )
    assert ready(installation, pods.namespace) == ("False", "StreamingNotStopped", message)

    pods.end("streams")
    wait_unstopped(installation, pods, "streams-first")
    pods.kubelet.delete(pods.namespace, "streams-first")
    wait_unstopped(installation, pods)
    wait_for(lambda: ready(installation, pods.namespace)[1] == "InForce", 60, "the policy to do what it says")
    assert exists(pods, "streams")


def test_a_policy_that_allows_again_lists_none(installation: Installation, pods: JobPods) -> None:
    pods.run("streams")
    installation.policy(pods.namespace, logStreaming="Forbidden")
    wait_unstopped(installation, pods, "streams")
    installation.policy(pods.namespace, logStreaming="Allowed")
    wait_unstopped(installation, pods)
    assert ready(installation, pods.namespace)[:2] == ("True", "InForce")
    assert exists(pods, "streams")


def test_they_are_deleted_where_the_policy_wants_it_and_nothing_else(installation: Installation, pods: JobPods) -> None:
    run_everything(pods)
    resource = f"/api/v1/namespaces/{pods.namespace}/pods"
    lingers = job_pod("lingers")
    lingers["metadata"]["finalizers"] = ["test.sitelog.dev/held"]
    pods.api.create(resource, lingers)
    pods.api.patch(f"{resource}/lingers/status", {"status": {"phase": "Running"}})  # on a node that does not answer

    installation.policy(pods.namespace, logStreaming="Forbidden", onRevoke="DeletePods")

    for name in ("streams", "streams-first"):
        wait_for(lambda: not exists(pods, name), 60, f"{name} to be deleted")  # noqa: B023 - at once
        assert pods.events(name)["JobPodRemoved"] == (
            f"Pod {pods.namespace}/{name} was started before SiteLogPolicy {pods.namespace}/site forbade log streaming:"
            " deleted (onRevoke)"
        )
    wait_unstopped(installation, pods, "lingers")  # it streams on until it ends
    assert ready(installation, pods.namespace)[2] == (
        f"job pods started before this policy are still streaming: {pods.namespace}/lingers; they are being deleted"
    )
    pods.api.patch(f"{resource}/lingers", {"metadata": {"finalizers": None}})
    wait_unstopped(installation, pods)
    for name in ("quiet", "ended", "other"):
        assert "deletionTimestamp" not in pods.api.get(f"{resource}/{name}")["metadata"]
        assert "JobPodRemoved" not in pods.events(name)


@pytest.fixture
def root(installation: Installation) -> Iterator[str]:
    """Name of a policy of the release's namespace; it is forgotten when the test is over."""
    yield "revoking"
    installation.control_plane.kubectl("delete", "slp", "revoking", f"--namespace={NAMESPACE}")


def test_a_root_policy_reaches_them_and_selects_by_their_labels(
    installation: Installation, pods: JobPods, root: str
) -> None:
    installation.policy(pods.namespace, logStreaming="Allowed", priority=1000)
    pods.run("streams")
    pods.run("spared")
    label = {"metadata": {"labels": {"revoked": pods.namespace}}}
    pods.api.patch(f"/api/v1/namespaces/{pods.namespace}/pods/streams", label)
    selector = {"matchLabels": {"revoked": pods.namespace}}
    installation.policy(NAMESPACE, root, logStreaming="Forbidden", selector=selector)
    expected = [f"{pods.namespace}/streams"]
    wait_for(lambda: unstopped(installation, NAMESPACE, root) == expected, 60, "the root policy's list")
    assert unstopped(installation, pods.namespace) == []
    assert "StreamingNotStopped" not in pods.events("spared")


@pytest.fixture
def kept(installation: Installation, pods: JobPods) -> Iterator[str]:
    """Name of a pod that somebody else's admission policy lets nobody delete, until the test is over."""
    api, name = installation.control_plane.api, f"keep-{pods.namespace}"
    group = "/apis/admissionregistration.k8s.io/v1"
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["DELETE"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": pods.namespace}}
    policy = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": here},
        "validations": [{"expression": "oldObject.metadata.name != 'a-kept'"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    resources = {"ValidatingAdmissionPolicy": policy, "ValidatingAdmissionPolicyBinding": binding}
    plural = {"ValidatingAdmissionPolicy": "policies", "ValidatingAdmissionPolicyBinding": "policybindings"}
    for of, spec in resources.items():
        api.create(f"{group}/validatingadmission{plural[of]}", {**kind, "kind": of, "spec": spec})
    pods.run("a-kept")
    target = f"/api/v1/namespaces/{pods.namespace}/pods/a-kept"

    def refused() -> bool:
        try:
            api.delete(target, {"dryRun": ["All"]})
        except ApiError as error:
            return error.status == HTTPStatus.UNPROCESSABLE_ENTITY
        return False

    wait_for(refused, 60, "the pod to be kept")
    yield "a-kept"
    for of in reversed(resources):
        api.delete(f"{group}/validatingadmission{plural[of]}/{name}")


def test_one_that_cannot_be_deleted_keeps_no_other_waiting(
    installation: Installation, pods: JobPods, kept: str
) -> None:
    pods.run("streams")
    installation.policy(pods.namespace, logStreaming="Forbidden", onRevoke="DeletePods")
    wait_for(lambda: not exists(pods, "streams"), 60, "the other pod to be deleted")
    wait_unstopped(installation, pods, kept)
    assert exists(pods, kept)
