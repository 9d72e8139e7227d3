"""The one right of an injected gate: there as soon as its pod is, for that account alone, and gone again."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sitelog.core.names import CLIENT_MODULE
from support.control_plane.api import Json
from support.control_plane.control_plane import ControlPlane
from support.federation.provisioning import SITE
from support.kubelet.kubelet import PlayedKubelet
from support.pods.client_pods import client_pod, create_account, install_site, site_chart
from support.pods.job_pods import JobPods
from support.sitelog.controllers import own_controllers
from support.sitelog.installation import NAMESPACE, Installation
from support.wait import wait_for

ROLE = f"sitelog-{NAMESPACE}-gate"
RULE = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "update"]}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_chart(tmp_path_factory.mktemp("site"))


@pytest.fixture
def installed(control_plane: ControlPlane, namespace: str, chart: Path) -> Iterator[Path]:
    """The site's chart, for `install_site`; uninstalled afterwards."""
    yield chart
    control_plane.helm("uninstall", "site", f"--namespace={namespace}", "--ignore-not-found")


def binding(control_plane: ControlPlane, namespace: str) -> Json | None:
    resource = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/{ROLE}"
    return control_plane.api.find(resource)


def bound(control_plane: ControlPlane, namespace: str) -> list[str]:
    """The accounts that are bound; each is of this namespace."""
    found = binding(control_plane, namespace)
    subjects = found["subjects"] if found else []
    assert {(each["kind"], each["namespace"]) for each in subjects} <= {("ServiceAccount", namespace)}
    return [each["name"] for each in subjects]


def wait_bound(control_plane: ControlPlane, namespace: str, *accounts: str) -> None:
    expected = list(accounts)
    wait_for(lambda: bound(control_plane, namespace) == expected, 60, f"the binding of {expected or 'nobody'}")


def may(control_plane: ControlPlane, account: str, *request: str) -> bool:
    answer = control_plane.kubectl("auth", "can-i", *request, f"--as=system:serviceaccount:{account}", check=False)
    return "yes" in answer.split()


def rules(control_plane: ControlPlane, account: str, namespace: str) -> list[Any]:
    """What an account may do with objects in a namespace, as the API server tells."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    resource = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    user = ("create", "--raw", resource, "-f", "-", f"--as=system:serviceaccount:{account}")
    found = json.loads(control_plane.kubectl(*user, input=json.dumps(review)))["status"]["resourceRules"]
    own = "authorization.k8s.io"  # anybody may ask about himself
    return [each for each in found if not any(own in group or "authentication" in group for group in each["apiGroups"])]


class Pods:
    """FL clients' pods that a test makes by hand."""

    def __init__(self, control_plane: ControlPlane, namespace: str, chart: Path) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.chart = chart
        self.path = f"/api/v1/namespaces/{namespace}/pods"
        create_account(control_plane, namespace)

    def create(self, name: str, account: str = "fl-client", **container: Any) -> Json:
        pod = client_pod(self.control_plane, self.chart, name, **container)
        pod["spec"]["serviceAccountName"] = account
        return dict(self.control_plane.api.create(self.path, pod))

    def delete(self, name: str) -> None:
        self.control_plane.api.delete(f"{self.path}/{name}", {"gracePeriodSeconds": 0})


@pytest.fixture
def clients(control_plane: ControlPlane, namespace: str, chart: Path) -> Pods:
    return Pods(control_plane, namespace, chart)


def test_the_client_of_a_site_as_nvflare_deploys_it_may_publish_and_nothing_else(
    control_plane: ControlPlane, installation: Installation, namespace: str, installed: Path
) -> None:
    account = f"{namespace}:{SITE}"
    installation.policy(namespace, logStreaming="Allowed")
    install_site(control_plane, installed, namespace)
    before = rules(control_plane, account, namespace)
    installation.policy(namespace, logStreaming="Allowed", gate="Injected")
    control_plane.kubectl("delete", "pods", "--all", f"--namespace={namespace}", "--force", "--grace-period=0")

    wait_bound(control_plane, namespace, SITE)

    assert [each for each in rules(control_plane, account, namespace) if each not in before] == [RULE]
    here, elsewhere = f"--namespace={namespace}", "--namespace=default"
    for verb in ("create", "get", "update"):
        assert may(control_plane, account, verb, "configmaps", here)
        assert not may(control_plane, account, verb, "configmaps", elsewhere)
    for verb in ("list", "watch", "delete", "patch"):
        assert not may(control_plane, account, verb, "configmaps", here)
    assert not may(control_plane, f"{namespace}:default", "get", "configmaps", here)
    found = binding(control_plane, namespace)
    assert found
    assert found["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "sitelog",
        "sitelog.dev/gate": "injected",
    }


def test_it_is_there_before_the_next_sweep(
    control_plane: ControlPlane, installation: Installation, namespace: str, clients: Pods, tmp_path: Path
) -> None:
    with own_controllers(installation, tmp_path, "--sweep-interval=1h") as controllers:
        controllers.start()
        installation.policy(namespace, gate="Injected")  # waits for its status: the only full round is over
        clients.create("site")
        wait_bound(control_plane, namespace, "fl-client")


def test_it_goes_when_nobody_asks_for_it_and_nobody_uses_it(
    control_plane: ControlPlane, installation: Installation, namespace: str, clients: Pods
) -> None:
    installation.policy(namespace, gate="Injected")
    control_plane.kubectl("create", "serviceaccount", "other", f"--namespace={namespace}")
    clients.create("one")
    clients.create("two", account="other")
    wait_bound(control_plane, namespace, "fl-client", "other")

    clients.delete("two")  # it may be made again at once
    control_plane.kubectl("create", "serviceaccount", "third", f"--namespace={namespace}")
    clients.create("three", account="third")
    wait_bound(control_plane, namespace, "fl-client", "other", "third")

    installation.policy(namespace, gate="None")
    wait_bound(control_plane, namespace, "fl-client", "third")
    clients.delete("three")
    wait_bound(control_plane, namespace, "fl-client")
    clients.delete("one")
    wait_bound(control_plane, namespace)
    assert binding(control_plane, namespace) is None


def test_what_somebody_changed_is_brought_into_line(
    control_plane: ControlPlane, installation: Installation, namespace: str, clients: Pods
) -> None:
    resource = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": "fl-client", "namespace": namespace}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": ROLE}

    def in_line() -> bool:
        found = binding(control_plane, namespace)
        return found is not None and (found["roleRef"], found["subjects"]) == (role, [account])

    installation.policy(namespace, gate="Injected")
    other = {"metadata": {"name": ROLE}, "roleRef": {**role, "name": "view"}, "subjects": [account]}
    control_plane.api.create(resource, other)
    wait_for(in_line, 60, "a binding of the gate's role")

    clients.create("site")
    everybody = {"kind": "Group", "apiGroup": group, "name": "system:authenticated"}
    control_plane.api.patch(f"{resource}/{ROLE}", {"subjects": [account, everybody]})
    wait_for(in_line, 60, "the binding to be for its account alone")
    control_plane.api.delete(f"{resource}/{ROLE}")
    wait_for(in_line, 60, "the deleted binding")


def test_the_account_of_everybody_is_not_bound(
    control_plane: ControlPlane,
    installation: Installation,
    kubelet: PlayedKubelet,
    namespace: str,
    clients: Pods,
) -> None:
    installation.policy(namespace, gate="Injected")
    clients.create("shared", account="default")
    pods = JobPods(kubelet, namespace)
    wait_for(lambda: pods.events("shared"), 60, "an Event")
    assert pods.events("shared") == {
        "GateAccountShared": f"Pod {namespace}/shared runs under the ServiceAccount default, which job pods use too, so"
        " its gate gets no right to publish job configurations; give the FL client a ServiceAccount of its own"
    }
    clients.create("own")
    wait_bound(control_plane, namespace, "fl-client")


def test_a_mark_that_somebody_else_wrote_gives_nothing_where_no_policy_asks(
    control_plane: ControlPlane, installation: Installation, namespace: str, clients: Pods
) -> None:
    installation.policy(namespace, logStreaming="Allowed")
    pod = clients.create("forged")
    control_plane.api.patch(f"{clients.path}/forged", {"metadata": {"labels": {"sitelog.dev/gate": "injected"}}})
    assert pod["spec"]["serviceAccountName"] == "fl-client"
    asking = f"{namespace}-asks"
    control_plane.kubectl("create", "namespace", asking)
    try:
        wait_for(
            lambda: control_plane.exists(f"/api/v1/namespaces/{asking}/serviceaccounts/default"), 60, "the account"
        )
        installation.policy(asking, gate="Injected")
        there = Pods(control_plane, asking, clients.chart)
        there.create("later")
        wait_bound(control_plane, asking, "fl-client")  # so the first was looked at too
        assert binding(control_plane, namespace) is None
    finally:
        control_plane.kubectl("delete", "namespace", asking, "--wait=false")


def ready(installation: Installation, namespace: str) -> tuple[str, str, str]:
    condition = installation.ready(namespace)
    return condition["status"], condition["reason"], condition["message"]


def test_a_client_that_runs_without_it_is_named_until_it_is_made_again(
    control_plane: ControlPlane,
    installation: Installation,
    kubelet: PlayedKubelet,
    namespace: str,
    clients: Pods,
    installed: Path,
) -> None:
    """With the next step: a Deployment's pod, one that nobody makes again, and one that cannot have it."""
    deployed = install_site(control_plane, installed, namespace)["metadata"]["name"]
    clients.create("bare")
    clients.create("shell", command=["sh", "-c"], args=[f"python3 -m {CLIENT_MODULE}"])
    clients.create("has", args=["-m", "sitelog.gate", "-m", "/ws"])
    pods = JobPods(kubelet, namespace)
    installation.policy(namespace, gate="Injected")

    named = ", ".join(f"{namespace}/{name}" for name in sorted(["bare", "shell", deployed]))
    message = f"FL clients run without the gate: {named}; what to do is in their Events"
    wait_for(lambda: ready(installation, namespace) == ("False", "GateMissing", message), 60, "the policy's condition")
    without = f"runs without the gate that SiteLogPolicy {namespace}/site asks for; delete it:"
    assert pods.events(deployed) == {
        "GateMissing": f"Pod {namespace}/{deployed} {without} it is made again with the gate"
    }
    assert pods.events("bare") == {
        "GateMissing": f"Pod {namespace}/bare {without} create it again, and it gets the gate"
    }
    assert "it cannot be put in, because the module is no argument of its own" in pods.events("shell")["GateMissing"]
    assert pods.events("has") == {}

    for name in ("bare", "shell", deployed):
        clients.delete(name)
    wait_bound(control_plane, namespace, SITE)
    wait_for(lambda: ready(installation, namespace)[:2] == ("True", "InForce"), 60, "the policy to do what it says")
