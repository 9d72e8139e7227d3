"""The bindings by which the API server prohibits follow the policies, and nothing else."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from sitelog.core.names import GROUP, PLURAL, VERSION, WORKER_MODULE
from support.control_plane.api import ApiError, Json
from support.control_plane.control_plane import ControlPlane
from support.sitelog.chart_alone import ChartAlone
from support.sitelog.enforced import goes_by
from support.wait import wait_for

pytestmark = pytest.mark.usefixtures("crd")

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"generateName": "job-"},
    "data": {"config_fed_client.json": "{}"},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"generateName": "job-"},
    "spec": {"containers": [{"name": "main", "image": "none", "command": ["python3", "-m", WORKER_MODULE]}]},
}


@pytest.fixture(scope="module")
def chart_alone(control_plane: ControlPlane, crd: Json) -> Iterator[ChartAlone]:
    with ChartAlone(control_plane, "crds.enabled=false") as running:
        yield running


@pytest.fixture
def chart(chart_alone: ChartAlone, namespace: str) -> Iterator[ChartAlone]:
    """With one controller at least, and no policy left at the end."""
    if not chart_alone.controllers:
        chart_alone.start_controller()
    yield chart_alone
    if not chart_alone.controllers:
        chart_alone.start_controller()
    for where in (namespace, chart_alone.namespace):
        chart_alone.control_plane.kubectl("delete", "slp", "--all", f"--namespace={where}")
    wait_for(lambda: not chart_alone.bindings(), 60, "the bindings to go with their policies")
    # Nothing is left of a deleted policy that could tell when the API server goes by that.
    wait_for(lambda: not refused(chart_alone, "default", POD), 60, "the API server to go by that")


def bound(chart: ChartAlone) -> dict[str, Json]:
    """The specs of the bindings that stand, by what is bound."""
    return {
        body["spec"]["policyName"].removeprefix(f"{chart.prefix}-"): body["spec"] for body in chart.bindings().values()
    }


def refused(chart: ChartAlone, namespace: str, body: Json, **labels: str) -> bool:
    path = f"/api/v1/namespaces/{namespace}/{body['kind'].lower()}s?dryRun=All"
    try:
        chart.api.create(path, {**body, "metadata": {**body["metadata"], "labels": labels}})
    except ApiError as error:
        if "prohibits log streaming here" in str(error):
            return True
        raise
    return False


def test_a_pair_stands_for_a_prohibition_and_one_more_takes_forged_provenance_away(
    chart: ChartAlone, namespace: str
) -> None:
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}
    chart.policy(namespace, logStreaming="ErrorLogOnly", selector=selector)
    chart.wait_enforced(namespace)
    here = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}
    matches = {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {"matchExpressions": [here]},
        "objectSelector": selector,
    }
    stands = bound(chart)
    assert stands.keys() == {"configmaps", "pods", "provenance"}
    assert all(spec["matchResources"] == matches for spec in stands.values())
    assert stands["configmaps"]["validationActions"] == stands["pods"]["validationActions"] == ["Deny"]
    for body in (CONFIGMAP, POD):
        assert refused(chart, namespace, body, a="b", c="")
        assert not refused(chart, namespace, body, a="b")
        assert not refused(chart, "default", body, a="b", c="")


def test_bindings_follow_their_policy(chart: ChartAlone, namespace: str) -> None:
    def select(value: str) -> None:
        chart.policy(namespace, logStreaming="Forbidden", selector={"matchLabels": {"site": value}})
        chart.wait_enforced(namespace)

    select("a")
    before = chart.bindings()
    assert refused(chart, namespace, POD, site="a")
    select("b")
    assert refused(chart, namespace, POD, site="b")
    wait_for(lambda: not refused(chart, namespace, POD, site="a"), 60, "what is selected no more to be let in")
    assert len(chart.bindings()) == len(before)
    assert not before.keys() & chart.bindings().keys()


def test_a_dry_run_warns_and_refuses_nothing(chart: ChartAlone, namespace: str) -> None:
    chart.policy(namespace, logStreaming="Forbidden")
    chart.wait_enforced(namespace)
    chart.policy(namespace, logStreaming="Forbidden", mode="DryRun")
    assert chart.wait_settled(namespace) == "DryRun"
    assert {name: spec["validationActions"] for name, spec in bound(chart).items()} == {
        "configmaps": ["Warn", "Audit"],
        "pods": ["Warn", "Audit"],
    }
    for body in (CONFIGMAP, POD):
        arguments = ("create", "--dry-run=server", "--filename=-", f"--namespace={namespace}")
        said = chart.control_plane.kubectl(*arguments, input=json.dumps(body), check=False)
        assert "Warning: Validation failed for ValidatingAdmissionPolicy" in said
        assert "created (server dry run)" in said


def test_what_is_allowed_or_deleted_is_lifted(chart: ChartAlone, namespace: str) -> None:
    for name in ("first", "second"):
        chart.policy(namespace, name, logStreaming="Forbidden")
        chart.wait_enforced(namespace, name)
    chart.policy(namespace, "first", logStreaming="Allowed")
    assert chart.wait_settled(namespace, "first") == "NothingProhibited"
    assert refused(chart, namespace, POD)
    chart.control_plane.kubectl("delete", "slp", "second", f"--namespace={namespace}")
    wait_for(lambda: not chart.bindings(), 60, "the bindings of a deleted policy to go")
    wait_for(lambda: not refused(chart, namespace, POD), 60, "the API server to go by that")


def test_what_the_release_s_namespace_prohibits_is_prohibited_in_every_governed_one(
    chart: ChartAlone, namespace: str
) -> None:
    chart.policy(chart.namespace, logStreaming="Forbidden")
    chart.wait_enforced(chart.namespace)
    for where, is_refused in ((namespace, True), ("default", True), ("kube-system", False), (chart.namespace, False)):
        assert refused(chart, where, CONFIGMAP) is is_refused


def test_unseen_job_pods_are_held_where_their_error_log_is_wanted(chart: ChartAlone, namespace: str) -> None:
    error_log = {"upload": "Enabled", "courierSecretName": "courier"}
    chart.policy(namespace, logStreaming="Allowed", clientName="site-1", errorLog=error_log)
    chart.wait_enforced(namespace)
    assert bound(chart).keys() == {"job-pods"}

    def held() -> bool:
        made = chart.api.create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", POD)
        return "sitelog.dev/error-log" in made["metadata"].get("finalizers", [])

    wait_for(held, 60, "job pods to be held")


def test_a_policy_tells_where_it_prohibits_nothing(chart: ChartAlone, namespace: str) -> None:
    chart.policy("kube-system", logStreaming="Forbidden")
    contradiction = [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "DoesNotExist"}]
    chart.policy(namespace, logStreaming="Forbidden", selector={"matchExpressions": contradiction})
    try:
        assert chart.wait_settled("kube-system") == "NotGoverned"
        assert chart.wait_settled(namespace) == "NothingProhibited"
    finally:
        chart.control_plane.kubectl("delete", "slp", "site", "--namespace=kube-system")


def test_two_controllers_agree(chart: ChartAlone, namespace: str) -> None:
    chart.start_controller()
    names = [f"site-{number}" for number in range(8)]
    for name in names:
        chart.policy(namespace, name, logStreaming="Forbidden", selector={"matchLabels": {"site": name}})
    for name in names:
        chart.wait_enforced(namespace, name)
    before = chart.bindings()
    assert len(before) == 3 * len(names)
    for name in names[:4]:
        chart.policy(namespace, name, logStreaming="Allowed")
    for name in names[:4]:
        assert chart.wait_settled(namespace, name) == "NothingProhibited"
    after = chart.bindings()
    assert after == {key: body for key, body in before.items() if key.split(".")[2] in names[4:]}, "what stays, stays"
    for controller in chart.controllers:
        assert "an error of ours" not in controller.log
    chart.stop_controllers()


def test_a_policy_that_cannot_be_read_changes_nothing(
    chart: ChartAlone, loosen_schema: Callable[[], AbstractContextManager[None]], namespace: str
) -> None:
    chart.policy(namespace, logStreaming="Forbidden", selector={"matchLabels": {"site": "a"}})
    chart.wait_enforced(namespace)
    before = chart.bindings()
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/site"
    unreadable = {"spec": {"logStreaming": "Allowed", "priority": "high", "selector": {"matchLabels": {"site": "b"}}}}
    with loosen_schema():
        assert chart.api.patch(path, unreadable)["spec"]["priority"] == "high"
        assert chart.wait_settled(namespace) == "SpecInvalid"
        assert chart.bindings() == before
        assert refused(chart, namespace, POD, site="a")
        chart.policy(namespace, "new", logStreaming="ErrorLogOnly", selector={"matchLabels": "none"})
        assert chart.wait_settled(namespace, "new") == "SpecInvalid"
        wait_for(lambda: refused(chart, namespace, POD), 60, "what can be read of a new policy to be held")
        chart.control_plane.kubectl("delete", "slp", "new", f"--namespace={namespace}")
        chart.api.patch(path, {"spec": {"priority": 0}})
    assert chart.wait_settled(namespace) == "NothingProhibited"
    assert not chart.bindings()


def test_without_a_controller_everything_stays(chart: ChartAlone, namespace: str) -> None:
    chart.policy(namespace, logStreaming="Forbidden")
    chart.wait_enforced(namespace)
    before = chart.bindings()
    chart.stop_controllers()
    chart.control_plane.kubectl("delete", "slp", "site", f"--namespace={namespace}")
    assert refused(chart, namespace, POD)
    assert chart.bindings() == before
    chart.start_controller()
    wait_for(lambda: not chart.bindings(), 60, "the bindings to go")


def test_enforced_speaks_of_what_the_policy_says_by_now(chart: ChartAlone, namespace: str) -> None:
    """What a wider selector refuses, the narrower one before did, in part."""
    some = {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}
    labelled = {**POD, "metadata": {**POD["metadata"], "labels": {"team": "y"}}}
    for _ in range(3):
        chart.policy(namespace, logStreaming="Forbidden", selector=some)
        chart.wait_enforced(namespace)
        chart.policy(namespace, logStreaming="Forbidden")
        chart.wait_enforced(namespace)
        assert refused(chart, namespace, labelled)


def test_enforced_waits_until_forged_provenance_is_taken_away(chart: ChartAlone, namespace: str) -> None:
    path = f"{ADMISSION}/mutatingadmissionpolicies/{chart.prefix}-provenance"
    conditions = chart.api.get(path)["spec"]["matchConditions"]
    never = {"name": "never", "expression": "false"}
    chart.api.patch(path, {"spec": {"matchConditions": [*conditions, never]}})
    try:
        chart.policy(namespace, logStreaming="Forbidden")
        wait_for(lambda: bound(chart).keys() == {"configmaps", "pods", "provenance"}, 60, "the bindings")
        wait_for(lambda: refused(chart, namespace, CONFIGMAP), 60, "the API server to go by them")
        chart.controllers[0].pause()  # what it says now, it says of bindings that are in effect
        policy = chart.api.get(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/site")
        assert not goes_by(policy)
    finally:
        chart.controllers[0].resume()
        chart.api.patch(path, {"spec": {"matchConditions": conditions}})
    chart.wait_enforced(namespace)


def test_a_binding_that_somebody_deleted_or_changed_comes_back(chart: ChartAlone, namespace: str) -> None:
    chart.policy(namespace, logStreaming="Forbidden")
    chart.wait_enforced(namespace)
    before = bound(chart)
    kind = "validatingadmissionpolicybinding"
    names = {name.rpartition(".")[0]: name for name in chart.bindings()}
    chart.control_plane.kubectl("delete", kind, names[f"{chart.prefix}-pods.{namespace}.site"])
    change = {"spec": {"matchResources": {"excludeResourceRules": [], "objectSelector": {"matchLabels": {"x": "y"}}}}}
    path = f"{ADMISSION}/{kind}s/{names[f'{chart.prefix}-configmaps.{namespace}.site']}"
    chart.api.patch(path, change)
    wait_for(lambda: bound(chart) == before, 60, "the bindings to be as they were")


def test_the_controllers_account_writes_its_own_bindings_and_nothing_else(chart: ChartAlone, namespace: str) -> None:
    chart.policy(namespace, logStreaming="Forbidden")
    chart.wait_enforced(namespace)
    kubeconfig = chart.controllers_kubeconfig()

    def tries(*arguments: str, **body: object) -> str:
        text = json.dumps(body) if body else None
        return chart.control_plane.kubectl(*arguments, input=text, kubeconfig=kubeconfig, check=False)

    def binding(name: str) -> dict[str, object]:
        spec = {"policyName": "somebody-elses", "validationActions": ["Deny"]}
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding"}
        return {**kind, "metadata": {"name": name}, "spec": spec}

    apply = ("apply", "--server-side", "--filename=-")
    own = f"{chart.prefix}-pods.{namespace}"
    for name in ("mine", f"{chart.prefix}-controller-rights", f"{own}.another"):
        assert "cannot" in tries("create", "--filename=-", **binding(name))
        assert "cannot" in tries(*apply, **binding(name))
        assert "cannot" in tries("delete", "validatingadmissionpolicybinding", name)

    def role(**changes: object) -> dict[str, object]:
        rule = {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingadmissionpolicybindings"],
            "resourceNames": [f"{own}.another"],
            "verbs": ["create", "patch"],
            **changes,
        }
        kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
        metadata = {"name": f"{chart.prefix}-bound"}
        return {**kind, "metadata": metadata, "rules": [{k: v for k, v in rule.items() if v is not None}]}

    controllers = len(chart.controllers)
    chart.stop_controllers()  # they would take back what is given here
    forced = (*apply, "--force-conflicts")
    for changes in (
        {"resourceNames": None},
        {"resourceNames": ["mine"]},
        {"resourceNames": [f"{chart.prefix}-controller-rights"]},
        {"resourceNames": [f"{own}.another", "mine"]},
        {"resources": ["*"]},
        {"resources": ["validatingadmissionpolicies"]},
        {"apiGroups": ["*"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [f"{own}.another"]},
    ):
        assert "gives itself no other right" in tries(*forced, **role(**changes)), changes
    aggregating = {**role(), "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    assert "gives itself no other right" in tries(*forced, **aggregating)
    another = {**role(), "metadata": {"name": "mine"}}
    assert "cannot" in tries(*forced, **another)
    assert "serverside-applied" in tries(*forced, **role())
    for body in (CONFIGMAP, POD):
        said = tries("create", "--filename=-", "--namespace=default", **body)
        assert "creates ConfigMaps and pods in dry runs only" in said
        assert "created" in tries("create", "--dry-run=server", "--filename=-", "--namespace=default", **body)
    for _ in range(controllers):
        chart.start_controller()
