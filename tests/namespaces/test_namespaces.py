"""Sitelog installed for some namespaces alone: what it does there, and that it neither sees nor may touch any other."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sitelog.core.names import CLIENT_MODULE, FINALIZER_ERROR_LOG, GROUP, KIND, VERSION
from support.control_plane.api import ApiError, Json
from support.control_plane.control_plane import CommandError, ControlPlane
from support.federation.stand_in_uploader import StandInUploader
from support.kubelet.kubelet import PlayedKubelet
from support.pods.job_pods import BROKEN, JobPods, received
from support.sitelog.installation import CHART, NAMESPACE, Installation, configmap
from support.wait import wait_for

DECLARED = {
    "components": [{"id": "mine", "path": "nvflare.app_common.logging.job_log_streamer.JobLogStreamer", "args": {}}]
}
ERROR_LOG = {"upload": "Enabled", "courierSecretName": "courier"}
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:sitelog"


class Place:
    """A namespace, and what a test does in it."""

    def __init__(self, control_plane: ControlPlane, name: str) -> None:
        self.name = name
        self.api = control_plane.api
        self.kubectl = control_plane.kubectl
        self.control_plane = control_plane
        self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_for(lambda: control_plane.exists(account), 60, f"the default service account of {name}")

    def configmaps(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.name}/configmaps/{name}".rstrip("/")

    def create(self, name: str) -> Json:
        return dict(self.api.create(self.configmaps(), configmap(self.name, name, DECLARED)))

    def decision(self, name: str) -> str:
        return str(self.api.get(self.configmaps(name))["metadata"].get("labels", {}).get("sitelog.dev/decision", ""))

    def wait(self, name: str, decision: str) -> None:
        wait_for(lambda: self.decision(name) == decision, 60, f"ConfigMap {self.name}/{name} to be {decision}")

    def policy(self, **spec: Any) -> Json:
        """Apply a policy without waiting: perhaps nobody will hear of it."""
        metadata = {"name": "site", "namespace": self.name}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self.name}/sitelogpolicies/site"
        return dict(self.api.apply(path, body))


@pytest.fixture(scope="module")
def places(control_plane: ControlPlane) -> Iterator[dict[str, Place]]:
    """Three that are governed, and one that is not."""
    tail = secrets.token_hex(3)
    made = {name: Place(control_plane, f"{name}-{tail}") for name in ("governed", "second", "third", "other")}
    yield made
    for place in made.values():
        control_plane.kubectl("delete", "namespace", place.name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def installation(
    control_plane: ControlPlane, kubelet: PlayedKubelet, places: dict[str, Place]
) -> Iterator[Installation]:
    namespaces = [places[name].name for name in ("governed", "second", "third")]
    with Installation(control_plane, kubelet, namespaces=namespaces) as running:
        yield running


@pytest.fixture
def governed(installation: Installation, places: dict[str, Place]) -> Place:
    return places["governed"]


@pytest.fixture
def other(installation: Installation, places: dict[str, Place]) -> Place:
    return places["other"]


@pytest.fixture
def third(installation: Installation, places: dict[str, Place]) -> Place:
    return places["third"]


@pytest.fixture
def second(installation: Installation, places: dict[str, Place]) -> Place:
    return places["second"]


def upgrade(installation: Installation, *listed: Place) -> None:
    """Have other namespaces governed, or the same ones again."""
    values = f"--set-json=namespaces={json.dumps([place.name for place in listed])}"
    here = f"--namespace={NAMESPACE}"
    installation.control_plane.helm("upgrade", "sitelog", str(CHART), here, "--reuse-values", values)


def rights(control_plane: ControlPlane, component: str, namespace: str) -> dict[str, set[str]]:
    """Verbs that a component's account has, by resource, as the API server tells."""
    arguments = ("auth", "can-i", "--list", f"--as={ACCOUNT}-{component}", f"--namespace={namespace}", "--no-headers")
    found: dict[str, set[str]] = {}
    for line in control_plane.kubectl(*arguments).splitlines():
        resource, _, verbs = line.partition(" ")
        found.setdefault(resource, set()).update(verbs[verbs.rindex("[") + 1 : -1].split())
    return found


def test_no_account_may_anything_with_objects_elsewhere(
    control_plane: ControlPlane, governed: Place, other: Place
) -> None:
    kinds = (
        "configmaps",
        "pods",
        "pods/log",
        "jobs.batch",
        "secrets",
        "events",
        "rolebindings.rbac.authorization.k8s.io",
    )
    here = rights(control_plane, "controller", governed.name)
    assert here["configmaps"] == {"create", "get", "list", "watch", "patch", "delete"}
    assert here["jobs.batch"] == {"get", "list", "watch", "create", "patch", "delete"}
    assert here["secrets"] == {"create"}
    policies = "sitelogpolicies.sitelog.dev"
    for component in ("controller", "webhook"):
        assert rights(control_plane, component, governed.name)[policies] == {"get", "list", "watch"}
        assert rights(control_plane, component, NAMESPACE)[policies] == {"get", "list", "watch"}
        elsewhere = rights(control_plane, component, other.name)
        assert not elsewhere.keys() & {*kinds, policies}
    root = rights(control_plane, "controller", NAMESPACE)
    assert {kind: root.get(kind, set()) for kind in kinds} == {
        "configmaps": set(),
        "pods": {"list", "watch"},  # its own peers
        "pods/log": set(),
        "jobs.batch": {"list", "watch"},
        "secrets": {"create", "patch", "update"},  # the webhook's certificate
        "events": set(),
        "rolebindings.rbac.authorization.k8s.io": set(),
    }
    assert not rights(control_plane, "webhook", governed.name).keys() & set(kinds)


def test_a_policy_counts_where_it_is_listed_and_nowhere_else(
    installation: Installation, governed: Place, other: Place
) -> None:
    for place in (governed, other):
        place.create("before")
        place.policy(logStreaming="Forbidden")
    governed.wait("before", "Stripped")  # brought into line
    installation.wait_in_force(governed.name)
    reviews = installation.metrics("webhook")
    unseen = other.create("after")
    pod = other.api.create(f"/api/v1/namespaces/{other.name}/pods", _job(other.name))
    assert _reviews(installation.metrics("webhook")) == _reviews(reviews)  # it costs no call
    assert json.loads(unseen["data"]["config_fed_client.json"]) == DECLARED
    assert "finalizers" not in pod["metadata"]
    assert not any(GROUP in key for each in (unseen, pod) for key in each["metadata"].get("labels", {}))

    governed.create("after")
    assert governed.decision("after") == "Stripped"
    assert _reviews(installation.metrics("webhook")) > _reviews(reviews)
    assert other.decision("before") == ""
    assert "status" not in other.policy(logStreaming="Forbidden")
    governed.policy(logStreaming="Allowed")
    installation.wait_in_force(governed.name)


def _job(name: str) -> Json:
    container = {
        "name": "job",
        "image": "none",
        "command": ["sh", "-c", "python3 -m nvflare.private.fed.app.client.worker_process"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def _reviews(metrics: str) -> float:
    counts = [line for line in metrics.splitlines() if line.startswith("sitelog_review_seconds_count")]
    return sum(float(line.split()[-1]) for line in counts)


def test_a_policy_of_the_releases_namespace_reaches_these_and_no_other(
    installation: Installation, governed: Place, other: Place
) -> None:
    governed.policy(logStreaming="Allowed")
    installation.policy(NAMESPACE, "all", logStreaming="Forbidden")
    for place in (governed, other):
        place.create("under-root")
    assert (governed.decision("under-root"), other.decision("under-root")) == ("Stripped", "")
    installation.control_plane.kubectl("delete", "slp", "all", f"--namespace={NAMESPACE}")
    wait_for(lambda: _decided(governed) == "Injected", 60, "the policy to be forgotten")


def _decided(place: Place) -> str:
    """What is decided now about a ConfigMap that declares nothing, in a dry run; empty where it is refused."""
    try:
        answer = place.api.create(f"{place.configmaps()}?dryRun=All", configmap(place.name, "probe", "{}"))
    except ApiError:  # a binding goes a moment after its policy
        return ""
    return str(answer["metadata"].get("labels", {}).get("sitelog.dev/decision"))


def test_error_logs_are_uploaded(
    installation: Installation, governed: Place, kubelet: PlayedKubelet, tmp_path: Path
) -> None:
    uploader = StandInUploader(tmp_path)
    error_log = {**ERROR_LOG, "image": uploader.image, "capture": "ContainerLog"}
    installation.policy(governed.name, logStreaming="Allowed", clientName="site-1", errorLog=error_log)
    pods = JobPods(kubelet, governed.name)
    pods.die("oom")
    assert pods.wait("oom", "Uploaded").startswith("ErrorLogUploaded: ")
    assert received(uploader, "oom").startswith(BROKEN)


def test_a_gate_gets_its_right_by_a_role_of_its_namespace(installation: Installation, governed: Place) -> None:
    installation.policy(governed.name, logStreaming="Allowed", gate="Injected")
    governed.kubectl("create", "serviceaccount", "fl-client", f"--namespace={governed.name}")
    client = {"name": "client", "image": "none", "command": ["python3", "-m", CLIENT_MODULE, "-m", "/workspace"]}
    pod = {"metadata": {"name": "client"}, "spec": {"serviceAccountName": "fl-client", "containers": [client]}}
    governed.api.create(f"/api/v1/namespaces/{governed.name}/pods", pod)
    may = ("auth", "can-i", "create", "configmaps", f"--as=system:serviceaccount:{governed.name}:fl-client")

    def allowed(namespace: str) -> bool:
        return governed.kubectl(*may, f"--namespace={namespace}", check=False).strip() == "yes"

    wait_for(lambda: allowed(governed.name), 60, "the gate's right")
    binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{governed.name}/rolebindings/sitelog-{NAMESPACE}-gate"
    assert governed.api.get(binding)["roleRef"]["kind"] == "Role"
    assert not allowed("default")


def test_a_namespace_that_may_not_be_read_costs_the_others_nothing_and_stays_forbidden(
    installation: Installation, governed: Place, second: Place, third: Place
) -> None:
    """Somebody removes the Roles; processes go on, and begin anew; `helm upgrade` brings all back."""
    installation.policy(second.name, logStreaming="Forbidden")
    second.kubectl("delete", "roles,rolebindings", "--all", f"--namespace={second.name}")
    _follows(installation, governed, "Forbidden")
    here = f"--namespace={NAMESPACE}"
    for deployment in ("sitelog-controller", "sitelog-webhook"):
        governed.kubectl("rollout", "restart", f"deployment/{deployment}", here)
    for deployment in ("sitelog-controller", "sitelog-webhook"):
        governed.kubectl("rollout", "status", f"deployment/{deployment}", here, "--timeout=90s")
    _follows(installation, governed, "Allowed")
    with pytest.raises(ApiError, match="prohibits log streaming here"):
        second.create("unseen")

    upgrade(installation, governed, second, third)
    wait_for(lambda: _decided(second) == "Clean", 90, "the webhook to know the policy again")


def _follows(installation: Installation, place: Place, log_streaming: str) -> None:
    """Whether a change of the policy is carried out, and said."""
    installation.policy(place.name, logStreaming=log_streaming)
    name = f"under-{log_streaming.lower()}-{secrets.token_hex(3)}"
    place.create(name)
    assert place.decision(name) == {"Forbidden": "Stripped", "Allowed": "Declared"}[log_streaming]


def test_a_namespace_that_leaves_the_list_is_as_if_sitelog_were_not_there(
    installation: Installation, governed: Place, second: Place, third: Place, kubelet: PlayedKubelet
) -> None:
    pods = JobPods(kubelet, third.name)
    installation.policy(third.name, logStreaming="Allowed", clientName="site-1", errorLog=ERROR_LOG)
    assert FINALIZER_ERROR_LOG in pods.run("held")["metadata"]["finalizers"]
    installation.policy(third.name, logStreaming="Forbidden")

    upgrade(installation, governed, second)
    assert "finalizers" not in third.api.get(f"/api/v1/namespaces/{third.name}/pods/held")["metadata"]
    ours = ("get", "roles,rolebindings", "--selector=app.kubernetes.io/instance=sitelog", f"--namespace={third.name}")
    assert third.kubectl(*ours, "-oname") == ""

    def admitted() -> Json | None:
        with contextlib.suppress(ApiError):  # until the controller has taken the bindings away
            return third.create(f"left-{secrets.token_hex(3)}")
        return None

    assert GROUP not in json.dumps(wait_for(admitted, 60, "the prohibition to end")["metadata"].get("labels", {}))


def test_a_namespace_that_is_deleted_goes_and_the_others_go_on(
    installation: Installation, governed: Place, second: Place, kubelet: PlayedKubelet
) -> None:
    installation.policy(second.name, logStreaming="Allowed", clientName="site-1", errorLog=ERROR_LOG)
    pods = JobPods(kubelet, second.name)
    held = pods.run("going")
    assert FINALIZER_ERROR_LOG in held["metadata"]["finalizers"]
    second.create("stays")
    finalizers = {"metadata": {"finalizers": ["example.com/theirs"]}}
    second.api.patch(second.configmaps("stays"), finalizers)

    second.kubectl("delete", "namespace", second.name, "--wait=false")
    kubelet_path = f"/api/v1/namespaces/{second.name}/pods/going"
    wait_for(lambda: not second.control_plane.exists(kubelet_path), 60, "the pod that was held to go")
    _follows(installation, governed, "Forbidden")  # while it is terminating
    second.api.patch(second.configmaps("stays"), {"metadata": {"finalizers": None}})
    second.kubectl("wait", "--for=delete", f"namespace/{second.name}", "--timeout=90s")
    _follows(installation, governed, "Allowed")  # and when it is gone
    upgrade(installation, governed)


def test_helm_names_the_namespace_that_is_not_there(control_plane: ControlPlane, governed: Place) -> None:
    values = ("--set=crds.enabled=false", '--set-json=namespaces=["nobody-made-it"]')
    with pytest.raises(CommandError, match='namespaces "nobody-made-it" not found'):
        control_plane.helm("install", "another", str(CHART), f"--namespace={NAMESPACE}", *values)
    control_plane.helm("uninstall", "another", f"--namespace={NAMESPACE}", "--no-hooks", "--ignore-not-found")


def test_uninstalling_lets_job_pods_go(installation: Installation, governed: Place, kubelet: PlayedKubelet) -> None:
    """The last test: the release is gone afterwards."""
    installation.policy(governed.name, logStreaming="Allowed", clientName="site-1", errorLog=ERROR_LOG)
    pods = JobPods(kubelet, governed.name)
    held = pods.run("held")
    assert FINALIZER_ERROR_LOG in held["metadata"]["finalizers"]
    installation.control_plane.helm("uninstall", "sitelog", f"--namespace={NAMESPACE}", "--wait")
    path = f"/api/v1/namespaces/{governed.name}/pods/held"
    assert "finalizers" not in governed.api.get(path)["metadata"]
    left = ("get", "roles,rolebindings", "--selector=app.kubernetes.io/instance=sitelog", "--all-namespaces", "-oname")
    assert governed.kubectl(*left) == ""
