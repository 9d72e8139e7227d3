"""What helm makes of the chart, without installing it."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sitelog.core import names
from sitelog.core.jobpod import container as container_module
from sitelog.core.jobpod import patterns
from support.control_plane.control_plane import CommandError, ControlPlane

Objects = list[dict[str, Any]]

EXISTING = [
    'webhook.certificate.mode="ExistingSecret"',
    'webhook.certificate.secretName="mine"',
    f'webhook.certificate.caBundle="{base64.b64encode(b"pem").decode()}"',
]
CERT_MANAGER = ['webhook.certificate.mode="CertManager"']
VARIANTS = {"Managed": [], "CertManager": CERT_MANAGER, "ExistingSecret": EXISTING}


def one(objects: Objects, kind: str, suffix: str = "") -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(suffix)]
    return found


def container(objects: Objects, component: str) -> dict[str, Any]:
    [only] = one(objects, "Deployment", component)["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_lint_finds_nothing(control_plane: ControlPlane, chart: str) -> None:
    assert "0 chart(s) failed" in control_plane.helm("lint", "--strict", chart)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("webhok.port=1", "webhok"),
        ("webhook.prot=1", "prot"),
        ('webhook.certificate.secret="x"', "secret"),
        ('webhook.failurePolicy="Maybe"', "failurePolicy"),
        ('webhook.url="http://plain"', "url"),
        ('webhook.certificate.mode="Helm"', "mode"),
        ('webhook.certificate.lifetime="90d"', "lifetime"),
        ('webhook.certificate.mode="ExistingSecret"', "Set webhook.certificate.secretName to the Secret"),
        ('controller.sweepInterval="soon"', "sweepInterval"),
        ('image.digest="sha256:12"', "digest"),
        ("webhook.port=0", "port"),
        ('namespaces=["Site_A"]', "namespaces"),
        ('namespaces=["a", "a"]', "namespaces"),
        (f"namespaces={json.dumps([f'a-{number}' for number in range(65)])}", "namespaces"),
        ('namespaces=["a", "sitelog-system"]', "Remove sitelog-system from namespaces"),
        ('namespaces=["kube-system"]', "Remove kube-system from namespaces"),
    ],
)
def test_a_wrong_value_is_refused_by_name(render: Any, value: str, complaint: str) -> None:
    with pytest.raises(CommandError, match=re.escape(complaint)):
        render(value)


def test_every_value_is_in_the_schema_and_has_a_comment(chart: str) -> None:
    schema = json.loads(Path(chart, "values.schema.json").read_text())
    text = Path(chart, "values.yaml").read_text()

    def leaves(values: dict[str, Any], schema: dict[str, Any]) -> None:
        assert schema["additionalProperties"] is False
        for key, value in values.items():
            assert key in schema["properties"]
            if isinstance(value, dict) and "properties" in schema["properties"][key]:
                leaves(value, schema["properties"][key])

    leaves(yaml.safe_load(text), schema)
    assert len(text.splitlines()) < 150


def test_as_a_dependency_it_accepts_globals(render: Any) -> None:
    assert render('global={"anything": 1}')


def test_the_webhooks_paths_are_the_handlers(render: Any) -> None:
    webhooks = {each["name"]: each for each in one(render(), "MutatingWebhookConfiguration")["webhooks"]}
    assert {name: each["clientConfig"]["service"]["path"] for name, each in webhooks.items()} == {
        "configmaps.sitelog.dev": f"/{names.HANDLER_CONFIGMAPS}",
        "pods.sitelog.dev": f"/{names.HANDLER_PODS}",
    }
    for module in (names.WORKER_MODULE, names.CLIENT_MODULE):
        package = module[: module.rindex(".") + 1]
        assert f"'{package}'" in webhooks["pods.sitelog.dev"]["matchConditions"][1]["expression"]


def test_the_service_leads_to_the_webhooks_port(render: Any) -> None:
    objects = render("webhook.port=10443")
    service = one(objects, "Service")
    for each in one(objects, "MutatingWebhookConfiguration")["webhooks"]:
        reference = each["clientConfig"]["service"]
        assert (reference["name"], reference["namespace"]) == (service["metadata"]["name"], "sitelog-system")
        assert reference["port"] == service["spec"]["ports"][0]["port"] == 443
    webhook = container(objects, "webhook")
    assert {"name": "webhook", "containerPort": 10443} in webhook["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == "webhook"
    assert "--port=10443" in webhook["args"]
    labels = one(objects, "Deployment", "webhook")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert "--webhook-host=sitelog-webhook.sitelog-system.svc" in container(objects, "controller")["args"]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://10.0.0.5:9443/", "10.0.0.5"),
        ("https://[2001:db8::1]:9443", "2001:db8::1"),
        ("https://webhook.example/sitelog", "webhook.example"),
    ],
)
def test_the_api_server_can_call_a_url(render: Any, url: str, host: str) -> None:
    objects = render(f"webhook.url={json.dumps(url)}")
    assert one(objects, "Service")  # something has to stand behind the URL
    configuration = one(objects, "MutatingWebhookConfiguration")
    assert [each["clientConfig"] for each in configuration["webhooks"]] == [
        {"url": url.rstrip("/") + "/configmaps"},
        {"url": url.rstrip("/") + "/pods"},
    ]
    assert f"--webhook-host={host}" in container(objects, "controller")["args"]
    certificate = one(render(f"webhook.url={json.dumps(url)}", *CERT_MANAGER), "Certificate")["spec"]
    assert certificate.get("dnsNames", certificate.get("ipAddresses")) == [host]
    assert ("ipAddresses" in certificate) == (host != "webhook.example")


def test_managed_certificates_are_the_controllers_business(render: Any) -> None:
    objects = render()
    configuration = one(objects, "MutatingWebhookConfiguration")
    assert not any("caBundle" in each["clientConfig"] for each in configuration["webhooks"])
    args = container(objects, "controller")["args"]
    assert f"--webhook-configuration={configuration['metadata']['name']}" in args
    [volume] = [
        v for v in one(objects, "Deployment", "webhook")["spec"]["template"]["spec"]["volumes"] if "secret" in v
    ]
    assert f"--certificate-secret={volume['secret']['secretName']}" in args
    assert "--certificate-lifetime=2160h" in args
    assert not volume["secret"].get("optional")  # the webhook waits for it
    assert not [each for each in objects if each["kind"] == "Secret"]


def test_cert_manager_makes_the_secret_that_the_webhook_serves_with(render: Any) -> None:
    objects = render(*CERT_MANAGER)
    certificate = one(objects, "Certificate")
    configuration = one(objects, "MutatingWebhookConfiguration")
    assert configuration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": f"sitelog-system/{certificate['metadata']['name']}"
    }
    assert certificate["spec"]["issuerRef"]["name"] == one(objects, "Issuer")["metadata"]["name"]
    assert certificate["spec"]["dnsNames"] == ["sitelog-webhook.sitelog-system.svc"]
    assert certificate["spec"]["secretName"] in json.dumps(one(objects, "Deployment", "webhook"))
    assert "--certificate-secret=" in container(objects, "controller")["args"]


def test_an_issuer_of_ones_own(render: Any) -> None:
    objects = render(*CERT_MANAGER, 'webhook.certificate.issuerRef={"name": "ours", "kind": "ClusterIssuer"}')
    assert one(objects, "Certificate")["spec"]["issuerRef"] == {"name": "ours", "kind": "ClusterIssuer"}
    assert not [each for each in objects if each["kind"] == "Issuer"]


def test_an_existing_secret_comes_with_its_authority(render: Any) -> None:
    objects = render(*EXISTING)
    for each in one(objects, "MutatingWebhookConfiguration")["webhooks"]:
        assert base64.b64decode(each["clientConfig"]["caBundle"]) == b"pem"
    assert '"secretName": "mine"' in json.dumps(one(objects, "Deployment", "webhook"))
    assert "--certificate-secret=" in container(objects, "controller")["args"]


def test_images(render: Any, chart: str) -> None:
    version = yaml.safe_load(Path(chart, "Chart.yaml").read_text())["appVersion"]
    objects = render()
    assert container(objects, "webhook")["image"] == container(objects, "controller")["image"] == f"sitelog:{version}"
    assert f"--upload-image=sitelog-uploader:{version}" in container(objects, "controller")["args"]
    assert f"--gate-image=sitelog:{version}" in container(objects, "webhook")["args"]
    digest = "sha256:" + "0" * 64
    objects = render('image={"repository": "r.example/s", "tag": "2"}', f'uploadImage.digest="{digest}"')
    assert container(objects, "webhook")["image"] == "r.example/s:2"
    assert "--gate-image=r.example/s:2" in container(objects, "webhook")["args"]
    assert f"--upload-image=sitelog-uploader@{digest}" in container(objects, "controller")["args"]


def test_neither_an_update_nor_a_drain_takes_the_last_pod_away(render: Any) -> None:
    objects = render()
    selectors = []
    for component in ("webhook", "controller"):
        deployment = one(objects, "Deployment", component)["spec"]
        assert deployment["replicas"] == 2
        assert deployment["strategy"]["type"] == "RollingUpdate"
        assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        budget = one(objects, "PodDisruptionBudget", component)["spec"]
        assert budget["maxUnavailable"] == 1
        spread = deployment["template"]["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        assert all(each["labelSelector"] == budget["selector"] == deployment["selector"] for each in spread)
        selectors.append(deployment["selector"])
    assert selectors[0] != selectors[1]


def test_a_network_policy_for_each_component(render: Any) -> None:
    objects = render("webhook.port=1", "webhook.healthPort=2", "controller.healthPort=3")
    ports = {
        component: [port["port"] for port in one(objects, "NetworkPolicy", component)["spec"]["ingress"][0]["ports"]]
        for component in ("webhook", "controller")
    }
    assert ports == {"webhook": [1, 2], "controller": [3]}
    for component in ports:
        selected = one(objects, "NetworkPolicy", component)["spec"]["podSelector"]
        assert selected == one(objects, "Deployment", component)["spec"]["selector"]
    assert not [each for each in render("networkPolicy.enabled=false") if each["kind"] == "NetworkPolicy"]


def test_a_pod_monitor_only_where_asked_for(render: Any) -> None:
    assert not [each for each in render() if each["kind"] == "PodMonitor"]
    monitor = one(render("podMonitor.enabled=true", 'podMonitor.labels={"release": "p"}'), "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "health", "path": "/metrics"}]


def test_the_crd_is_the_source_and_stays(render: Any, crd_file: Path) -> None:
    rendered, source = one(render(), "CustomResourceDefinition"), yaml.safe_load(crd_file.read_text())
    assert rendered["spec"] == source["spec"]
    assert rendered["metadata"]["name"] == source["metadata"]["name"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not [each for each in render("crds.enabled=false") if each["kind"] == "CustomResourceDefinition"]


def rules_of(role: dict[str, Any]) -> list[tuple[str, list[str], str]]:
    """Each as (group/resource, names it is limited to, verbs)."""
    return [
        (f"{group}/{resource}".lstrip("/"), rule.get("resourceNames", []), " ".join(rule["verbs"]))
        for rule in role["rules"] or ()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_least_privilege(render: Any, variant: str) -> None:
    objects = render(*VARIANTS[variant])
    managed = variant == "Managed"

    def rules(kind: str, suffix: str) -> list[tuple[str, list[str], str]]:
        return rules_of(one(objects, kind, suffix))

    assert rules("ClusterRole", "-webhook") == [("sitelog.dev/sitelogpolicies", [], "get list watch")]
    gate = "sitelog-sitelog-system-gate"
    assert f"--gate-role={gate}" in container(objects, "controller")["args"]
    assert rules("ClusterRole", "-gate") == [("configmaps", [], "create get update")]
    admission, prefix = "admissionregistration.k8s.io", "sitelog-sitelog-system"
    assert f"--admission-policy-prefix={prefix}" in container(objects, "controller")["args"]
    own = (f"{admission}/mutatingwebhookconfigurations", [prefix], "get patch")
    assert rules("ClusterRole", "-controller") == [
        ("sitelog.dev/sitelogpolicies", [], "get list watch"),
        ("sitelog.dev/sitelogpolicies/status", [], "get patch update"),
        ("configmaps", [], "create"),
        ("pods", [], "create"),
        ("configmaps", [], "get list watch patch delete"),
        ("pods", [], "get list watch patch delete"),
        ("pods/log", [], "get"),
        ("events", [], "list create patch"),
        ("batch/jobs", [], "get list watch create patch delete"),
        ("secrets", [], "create"),
        ("rbac.authorization.k8s.io/rolebindings", [], "create"),
        ("rbac.authorization.k8s.io/clusterroles", [gate], "bind"),
        ("rbac.authorization.k8s.io/rolebindings", [gate], "list patch delete"),
        ("apiextensions.k8s.io/customresourcedefinitions", ["sitelogpolicies.sitelog.dev"], "get"),
        (f"{admission}/validatingadmissionpolicies", [f"{prefix}-configmaps", f"{prefix}-pods"], "get"),
        (f"{admission}/mutatingadmissionpolicies", [f"{prefix}-provenance", f"{prefix}-job-pods"], "get"),
        (f"{admission}/validatingadmissionpolicybindings", [], "list"),
        (f"{admission}/mutatingadmissionpolicybindings", [], "list"),
        ("rbac.authorization.k8s.io/clusterroles", [f"{prefix}-bound"], "get create patch escalate"),
        *([own] if managed else []),
    ]
    roles = [each for each in objects if each["kind"] == "Role" and each["metadata"]["namespace"] == "sitelog-system"]
    assert len(roles) == managed
    if managed:
        assert rules("Role", "-controller") == [("secrets", ["sitelog-webhook-certificate"], "patch update")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_namespaces_every_right_on_their_objects_is_a_role_there(render: Any, variant: str) -> None:
    everywhere = {
        rule for role in render(*VARIANTS[variant]) if role["kind"] == "ClusterRole" for rule in _sorted(role)
    }
    objects = render(*VARIANTS[variant], 'namespaces=["b", "a"]')
    namespaced = {"configmaps", "pods", "pods/log", "events", "secrets", "batch/jobs"}
    cluster = {rule for role in objects if role["kind"] == "ClusterRole" for rule in _sorted(role)}
    assert not {resource for resource, *_ in cluster} & (namespaced | {"rbac.authorization.k8s.io/rolebindings"})
    assert not [resource for resource, *_ in cluster if resource.startswith("sitelog.dev/")]

    for namespace in ("a", "b"):
        here = {rule for role in _roles(objects, namespace) for rule in _sorted(role)}
        bind = ("rbac.authorization.k8s.io/clusterroles", ("sitelog-sitelog-system-gate",), "bind")
        expected = {rule for rule in everywhere - cluster if rule != bind}
        test = {("sitelog.dev/sitelogpolicies", (), "create"), ("configmaps", (), "create")}
        assert expected | {("rbac.authorization.k8s.io/roles", *bind[1:])} <= here
        assert {rule for rule in here - expected if rule[0] in namespaced} <= test
    own = {rule for role in _roles(objects, "sitelog-system") for rule in _sorted(role)}
    secrets = {("secrets", (), "create"), ("secrets", ("sitelog-webhook-certificate",), "patch update")}
    watched = {("pods", (), "list watch"), ("batch/jobs", (), "list watch")}
    policies = {("sitelog.dev/sitelogpolicies", (), "get list watch")}
    status = {("sitelog.dev/sitelogpolicies/status", (), "get patch update")}
    remove_finalizers = {
        ("pods", (), "list get patch"),
        ("sitelog.dev/sitelogpolicies", (), "list"),
        ("sitelog.dev/sitelogpolicies/status", (), "patch"),
    }
    assert own == watched | policies | status | remove_finalizers | (secrets if variant == "Managed" else set())
    assert {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"} == {"a", "b", "sitelog-system"}


def _roles(objects: Objects, namespace: str) -> Objects:
    return [each for each in objects if each["kind"] == "Role" and each["metadata"]["namespace"] == namespace]


def _sorted(role: dict[str, Any]) -> list[tuple[str, tuple[str, ...], str]]:
    return [(resource, tuple(sorted(names)), verbs) for resource, names, verbs in rules_of(role)]


def test_namespaces_reach_webhook_policies_and_processes(render: Any) -> None:
    key = "kubernetes.io/metadata.name"

    def selected(*values: str) -> list[tuple[str, str, list[str]]]:
        objects = render(*values)
        found = [each["namespaceSelector"] for each in one(objects, "MutatingWebhookConfiguration")["webhooks"]]
        policies = [each for each in objects if each["kind"].endswith("AdmissionPolicy")]
        for suffix in ("-controller-dry-runs", "-controller-rights"):  # these hold that account everywhere
            policies.remove(one(policies, "ValidatingAdmissionPolicy", suffix))
        found += [each["spec"]["matchConstraints"]["namespaceSelector"] for each in policies]
        assert len(found) > 3
        ((only,),) = {tuple(map(json.dumps, selector["matchExpressions"])) for selector in found}
        expression = json.loads(only)
        return [(expression["key"], expression["operator"], expression["values"])]

    assert selected() == [(key, "NotIn", ["kube-system", "sitelog-system"])]
    assert selected('namespaces=["b", "a"]') == [(key, "In", ["a", "b"])]
    objects = render('namespaces=["b", "a"]')
    for component in ("webhook", "controller"):
        args = [word for word in container(objects, component)["args"] if word.startswith("--namespace=")]
        assert args == ["--namespace=a", "--namespace=b"]
        assert not [word for word in container(render(), component)["args"] if word.startswith("--namespace=")]
    [remove_finalizers] = [each for each in objects if each["kind"] == "Job"]
    [arguments] = [each["args"] for each in remove_finalizers["spec"]["template"]["spec"]["containers"]]
    assert arguments == ["remove-finalizers", "--namespace=a", "--namespace=b", "--namespace=sitelog-system"]
    [test] = [each for each in objects if each["kind"] == "Pod"]
    assert test["spec"]["containers"][0]["command"][-2] == "a"  # where `helm test` looks


def test_two_releases_share_no_cluster_scoped_name(render: Any) -> None:
    def cluster_scoped(release: str) -> set[str]:
        return {
            f"{each['kind']}/{each['metadata']['name']}"
            for each in render("crds.enabled=false", release=release)
            if "namespace" not in each["metadata"]
        }

    assert cluster_scoped("sitelog")
    assert not cluster_scoped("sitelog") & cluster_scoped("other")


def test_the_second_lock_looks_for_the_same_in_both(render: Any) -> None:
    objects = render()
    policies = [each for each in objects if each["kind"] == "ValidatingAdmissionPolicy"]
    (pods,) = [each["spec"] for each in policies if each["metadata"]["name"].endswith("-pods")]
    expressions = {each["name"]: each["expression"] for each in pods["variables"]}
    webhooks = {each["name"]: each for each in one(objects, "MutatingWebhookConfiguration")["webhooks"]}
    (watched,) = [
        each["expression"]
        for each in webhooks["pods.sitelog.dev"]["matchConditions"]
        if each["name"] == "runs-a-job-or-an-fl-client"
    ]
    for expression in (expressions["jobs"], watched):
        assert f"matches(r'{patterns.NAMES_JOB}|{patterns.HIDES_MODULE}')" in expression
        assert f"matches(r'{patterns.HIDES_PROGRAM}')" in expression
    for expression in (expressions["small"], watched):
        for limit in (container_module.MAX_CONTAINERS, container_module.MAX_TEXTS, container_module.MAX_CHARACTERS):
            assert f"<= {limit}" in expression
    _, started, held = (each["expression"] for each in pods["validations"])
    assert f"matches(r'^{patterns.STARTS_JOB}')" in started
    assert f"matches(r'^{patterns.HOLDS_JOB}$')" in held
    assert f"'{names.FORBIDDING_VARIABLE}'" in held
