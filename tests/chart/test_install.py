"""The chart installed by helm: what the API server makes of it while no process of Sitelog runs."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sitelog.core.configmap.configmap import CONFIG_KEYS
from sitelog.core.names import CLIENT_MODULE, WORKER_MODULE
from support.control_plane.control_plane import CommandError, ControlPlane
from support.control_plane.process import free_port
from support.wait import wait_for

pytestmark = pytest.mark.usefixtures("crd")

Install = Callable[..., str]


@pytest.fixture
def install(control_plane: ControlPlane, chart: str, release_namespace: str) -> Install:
    """Install or upgrade the release; the CRD is there already. Gives the webhook configuration's name."""

    def install(*values: str, command: str = "install") -> str:
        settings = [f"--set-json={value}" for value in ("crds.enabled=false", *values)]
        control_plane.helm(command, "sitelog", chart, f"--namespace={release_namespace}", *settings)
        return f"sitelog-{release_namespace}"

    return install


@pytest.fixture
def unreachable(control_plane: ControlPlane, install: Install, namespace: str) -> Iterator[str]:
    """A namespace in which the API server must call a webhook that nobody serves."""
    install(f'webhook.url="https://127.0.0.1:{free_port()}"', 'webhook.failurePolicy="Fail"')

    def in_force() -> bool:
        arguments = ("create", "configmap", "probe", "--from-literal=config_fed_client.json=", "--dry-run=server")
        said = control_plane.kubectl(*arguments, f"--namespace={namespace}", check=False)
        return "failed calling webhook" in said

    wait_for(in_force, deadline=60, what="the webhook configuration to be in force")
    return namespace


def configmap(**content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "test-"}, **content}


def pod(*, init: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "none", **container}]}
    if init is not None:
        spec["initContainers"] = [{"name": "init", "image": "none", **init}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "test-"}, "spec": spec}


ORDINARY = {
    "no data": configmap(),
    "data": configmap(data={"config_fed_server.json": "{}"}),
    "binaryData": configmap(binaryData={"config_fed_client": ""}),
    "a name that NVFlare does not look for": configmap(data={"config_fed_client.json.bak": "{}"}),
    "very many keys": configmap(data={f"key-{number}": "" for number in range(30_000)}),
    "pod": pod(),
    "pod with a command": pod(command=["python"], args=["-m", "nvflare.private.fed.app.server.server_train"], init={}),
    "very many words": pod(args=["nvflare.private.fed.app.client"] * 30_000),
    "very long words": pod(args=["x" * 100_000] * 12, init={"args": ["y" * 100_000]}),
}
JOBS = {
    **{f"data {key}": configmap(data={"a": "b", key: "{}"}) for key in CONFIG_KEYS},
    **{f"binaryData {key}": configmap(binaryData={key: "e30="}) for key in CONFIG_KEYS},
    "launched": pod(command=["python3"], args=["-u", "-m", WORKER_MODULE, "-n", "job"]),
    "whole command": pod(command=["python3", "-u", "-m", WORKER_MODULE]),
    "shell": pod(command=["sh", "-c"], args=[f"exec python3 -m {WORKER_MODULE} -n job"]),
    "FL client": pod(command=["python3"], args=["-u", "-m", CLIENT_MODULE, "-m", "/workspace"]),
    "FL client in a shell": pod(command=["sh", "-c"], args=[f"exec python3 -m {CLIENT_MODULE}"]),
    "init container": pod(init={"command": ["python3", "-m", WORKER_MODULE]}),
}


def create(control_plane: ControlPlane, manifest: dict[str, Any], namespace: str) -> str:
    arguments = ("create", "--dry-run=server", "--filename=-", f"--namespace={namespace}")
    return control_plane.kubectl(*arguments, input=json.dumps(manifest))


def test_only_jobs_depend_on_the_webhook(control_plane: ControlPlane, unreachable: str, release_namespace: str) -> None:
    for manifest in ORDINARY.values():
        assert "created" in create(control_plane, manifest, unreachable)
    for name, manifest in JOBS.items():
        webhook = f"{manifest['kind'].lower()}s.sitelog.dev"
        with pytest.raises(CommandError, match=re.escape(f'failed calling webhook "{webhook}"')):
            pytest.fail(f"{name}: {create(control_plane, manifest, unreachable)}")
        assert "created" in create(control_plane, manifest, "kube-system")
        if manifest["kind"] == "ConfigMap":  # the pods are not restricted enough for this namespace
            assert "created" in create(control_plane, manifest, release_namespace)


def test_an_update_that_brings_a_configuration_depends_on_it_too(control_plane: ControlPlane, unreachable: str) -> None:
    here = f"--namespace={unreachable}"
    control_plane.kubectl("create", "configmap", "plain", "--from-literal=a=b", here)
    change = ("patch", "configmap", "plain", here, "--type=merge", "--patch")
    control_plane.kubectl(*change, '{"data": {"a": "c"}}')
    with pytest.raises(CommandError, match="failed calling webhook"):
        control_plane.kubectl(*change, '{"data": {"config_fed_client.json": "{}"}}')
    control_plane.kubectl("delete", "configmap", "plain", here)


def test_failure_policy_ignore_lets_jobs_pass(control_plane: ControlPlane, install: Install, unreachable: str) -> None:
    url = f'webhook.url="https://127.0.0.1:{free_port()}"'
    install(url, 'webhook.failurePolicy="Ignore"', command="upgrade")

    def passes() -> bool:
        manifest = json.dumps(JOBS["data config_fed_client.json"])
        arguments = ("create", "--dry-run=server", "--filename=-", f"--namespace={unreachable}")
        return "created" in control_plane.kubectl(*arguments, input=manifest, check=False)

    wait_for(passes, deadline=60, what="the upgraded configuration to be in force")


def test_every_pod_is_admitted_where_only_restricted_pods_are(
    control_plane: ControlPlane, install: Install, chart: str, release_namespace: str
) -> None:
    with pytest.raises(CommandError, match="violates PodSecurity"):
        create(control_plane, pod(), release_namespace)
    install()

    def components() -> list[str]:
        found = control_plane.api.get(f"/api/v1/namespaces/{release_namespace}/pods")["items"]
        return sorted(each["metadata"]["labels"]["app.kubernetes.io/component"] for each in found)

    wait_for(lambda: components() == ["controller"] * 2 + ["webhook"] * 2, 60, "the Deployments' pods to be created")
    # `helm test` starts one more.
    control_plane.kubectl("create", "serviceaccount", "sitelog-test", f"--namespace={release_namespace}")
    hooks = control_plane.helm("get", "hooks", "sitelog", f"--namespace={release_namespace}")
    assert "pod/sitelog-test created" in control_plane.kubectl("apply", "--dry-run=server", "-f", "-", input=hooks)


def test_a_caBundle_that_the_controller_wrote_outlives_an_upgrade(  # noqa: N802 - the field's name
    control_plane: ControlPlane, install: Install, release_namespace: str
) -> None:
    name = install()
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{name}"
    bundle = base64.b64encode(control_plane.authority.read_bytes()).decode()
    written = [
        {"name": each["name"], "clientConfig": {"caBundle": bundle}} for each in control_plane.api.get(path)["webhooks"]
    ]
    control_plane.kubectl(
        "patch",
        "mutatingwebhookconfiguration",
        name,
        f"--patch={json.dumps({'webhooks': written})}",
        kubeconfig=control_plane.service_account_kubeconfig(release_namespace, "sitelog-controller"),
    )

    install("webhook.timeoutSeconds=3", command="upgrade")

    upgraded = control_plane.api.get(path)["webhooks"]
    assert [each["timeoutSeconds"] for each in upgraded] == [3, 3]
    assert [each["clientConfig"]["caBundle"] for each in upgraded] == [bundle, bundle]


def test_no_service_account_reads_a_secret(
    control_plane: ControlPlane, install: Install, release_namespace: str
) -> None:
    install()

    def may(component: str, *request: str) -> bool:
        account = f"system:serviceaccount:{release_namespace}:sitelog-{component}"
        return "yes" in control_plane.kubectl("auth", "can-i", *request, f"--as={account}", check=False).split()

    own = ("secret/sitelog-webhook-certificate", f"--namespace={release_namespace}")
    for component in ("webhook", "controller"):
        for verb in ("get", "list", "watch"):
            assert not may(component, verb, "secrets", "--all-namespaces")
            assert not may(component, verb, *own)
    assert may("controller", "create", "secrets", "--namespace=default")
    assert may("controller", "patch", *own)
    assert not may("controller", "patch", "secret/other", f"--namespace={release_namespace}")
    assert not may("controller", "patch", "secret/sitelog-webhook-certificate", "--namespace=default")
    assert not may("webhook", "create", "secrets", "--namespace=default")
    assert may("webhook", "list", "sitelogpolicies.sitelog.dev", "--all-namespaces")


def test_the_controller_binds_the_gates_role_and_no_other(
    control_plane: ControlPlane, install: Install, namespace: str, release_namespace: str
) -> None:
    """Where it is asked for: so that a stolen token of its makes nobody an administrator."""
    gate = f"{install()}-gate"
    kubeconfig = control_plane.service_account_kubeconfig(release_namespace, "sitelog-controller")

    def kubectl(*arguments: str) -> str:
        return control_plane.kubectl(*arguments, f"--namespace={namespace}", kubeconfig=kubeconfig, check=False)

    account = f"--serviceaccount={namespace}:default"
    for role in ("cluster-admin", "edit", "view"):
        refused = kubectl("create", "rolebinding", "other", f"--clusterrole={role}", account)
        assert "is attempting to grant RBAC permissions not currently held" in refused
    assert kubectl("create", "rolebinding", gate, f"--clusterrole={gate}", account).endswith("created\n")
    assert kubectl("delete", "rolebinding", gate).endswith("deleted from " + namespace + " namespace\n")
    control_plane.kubectl("create", "rolebinding", "other", "--clusterrole=view", account, f"--namespace={namespace}")
    for verb in (("delete",), ("patch", "--patch={}")):
        assert "cannot" in kubectl(verb[0], "rolebinding", "other", *verb[1:])
    assert "cannot list" in kubectl("get", "rolebindings")
    assert "cannot create" in kubectl("create", "clusterrolebinding", "other", f"--clusterrole={gate}", account)


@pytest.fixture
def owners(control_plane: ControlPlane, crd: dict[str, Any]) -> Iterator[None]:
    """Whoever owned the CRD before the test owns it again afterwards."""
    yield
    before = [
        {"op": "add", "path": f"/metadata/{field}", "value": crd["metadata"].get(field, {})}
        for field in ("labels", "annotations")
    ]
    control_plane.kubectl("patch", "crd", crd["metadata"]["name"], "--type=json", f"--patch={json.dumps(before)}")


def test_a_release_that_brings_the_crd_leaves_it_behind(
    control_plane: ControlPlane, chart: str, owners: None, release_namespace: str
) -> None:
    here = f"--namespace={release_namespace}"
    policy = (
        "apiVersion: sitelog.dev/v1alpha1\nkind: SiteLogPolicy\nmetadata: {name: kept}\nspec: {logStreaming: Allowed}\n"
    )
    control_plane.helm("install", "owner", chart, here, "--take-ownership")
    control_plane.kubectl("create", here, "--filename=-", input=policy)

    control_plane.helm("uninstall", "owner", here, "--wait", "--no-hooks")  # no node runs the Job of the hook

    assert "kept" in control_plane.kubectl("get", "slp", here)
    left = ("get", "all,mutatingwebhookconfigurations,clusterroles", "--selector=app.kubernetes.io/instance=owner")
    assert control_plane.kubectl(*left, here) == ""
