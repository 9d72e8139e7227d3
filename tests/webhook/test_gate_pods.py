"""FL clients' pods on their way into a real API server: the gate goes in where a policy asks for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from sitelog.core.names import CLIENT_MODULE, GATE, GATE_FOLDER
from support.control_plane.api import Json
from support.control_plane.control_plane import CommandError, ControlPlane
from support.pods.client_pods import client_pod, create_account, install_site, site_chart, without_gate
from support.sitelog.installation import Installation

NAMESPACE_FIELD = {"valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}}
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_chart(tmp_path_factory.mktemp("site"))


class Namespace:
    """Where the test's pods are created."""

    def __init__(self, control_plane: ControlPlane, name: str, chart: Path) -> None:
        self.control_plane = control_plane
        self.name = name
        self.chart = chart
        create_account(control_plane, name)

    def pod(self, name: str, **container: Any) -> Json:
        return client_pod(self.control_plane, self.chart, name, **container)

    def create(self, pod: Json) -> tuple[Json, str]:
        """Create a pod; give it as it is stored, and kubectl's words."""
        here = f"--namespace={self.name}"
        said = self.control_plane.kubectl("create", "-f", "-", here, input=json.dumps(pod), check=False)
        path = f"/api/v1/namespaces/{self.name}/pods/{pod['metadata']['name']}"
        assert self.control_plane.exists(path), said
        return self.control_plane.api.get(path), said


@pytest.fixture
def here(control_plane: ControlPlane, installation: Installation, namespace: str, chart: Path) -> Namespace:
    return Namespace(control_plane, namespace, chart)


def arguments(pod: Json) -> list[str]:
    (client,) = pod["spec"]["containers"]
    return [*client.get("command", []), *client.get("args", [])]


def environment(pod: Json) -> dict[str, Any]:
    (client,) = pod["spec"]["containers"]
    return {each["name"]: each.get("value", each) for each in client.get("env", [])}


def is_untouched(stored: Json, pod: Json) -> bool:
    assert GATE not in json.dumps(stored["spec"])
    assert "sitelog.dev/gate" not in stored["metadata"]["labels"]
    return arguments(stored) == arguments(pod)


def test_a_site_of_nvflares_own_chart_gets_the_gate_and_nothing_else_changes(
    control_plane: ControlPlane, installation: Installation, namespace: str, chart: Path
) -> None:
    before = install_site(control_plane, chart, namespace)
    control_plane.helm("uninstall", "site", f"--namespace={namespace}", "--wait")
    installation.policy(namespace, logStreaming="Allowed", gate="Injected")

    after = install_site(control_plane, chart, namespace)

    assert without_gate(after) == without_gate(before)
    at = arguments(before).index(CLIENT_MODULE)
    assert arguments(after) == [*arguments(before)[: at - 1], GATE_FOLDER, *arguments(before)[at + 1 :]]
    added = {"sitelog.dev/gate": "injected"}
    assert after["metadata"]["labels"] == {**before["metadata"]["labels"], **added}
    assert after["metadata"]["annotations"] == {
        "sitelog.dev/policy": f"{namespace}/site",
        "sitelog.dev/reason": "GateInjected",
    }
    (installer,) = after["spec"]["initContainers"]
    (webhook,) = installation.pods("webhook")[0]["spec"]["containers"]
    assert installer["image"] == webhook["image"]
    assert installer["args"] == ["install-gate", GATE_FOLDER]
    assert installer["resources"]["requests"] == installer["resources"]["limits"]
    (client,) = after["spec"]["containers"]
    assert {"name": GATE, "mountPath": GATE_FOLDER, "readOnly": True} in client["volumeMounts"]
    assert {"name": GATE, "emptyDir": {"sizeLimit": "4Mi"}} in after["spec"]["volumes"]
    control_plane.helm("uninstall", "site", f"--namespace={namespace}")


@pytest.mark.parametrize(("log_streaming", "failure"), [("Allowed", "Ignore"), ("Forbidden", "Fail")])
def test_without_an_answer_it_is_as_the_policy_says_unless_the_site_has_its_own_word(
    installation: Installation, here: Namespace, log_streaming: str, failure: str
) -> None:
    installation.policy(here.name, logStreaming=log_streaming, gate="Injected")
    stored, said = here.create(here.pod("plain"))
    assert said == "pod/plain created\n"
    assert environment(stored) == {
        "SITELOG_GATE_FAILURE_POLICY": failure,
        "SITELOG_GATE_NAMESPACE": {"name": "SITELOG_GATE_NAMESPACE", **NAMESPACE_FIELD},
    }
    own = [
        {"name": "SITELOG_GATE_FAILURE_POLICY", "value": "Maybe"},
        {"name": "SITELOG_GATE_NAMESPACE", "value": "elsewhere"},
        {"name": "PYTHONPATH", "value": "/opt/custom"},
    ]
    stored, _ = here.create(here.pod("own", env=own))
    assert stored["spec"]["containers"][0]["env"] == own


def test_a_namespace_for_restricted_pods_lets_it_in(installation: Installation, here: Namespace) -> None:
    """And the pod of a user 0, elsewhere, gets an init container that is not."""
    kubectl = here.control_plane.kubectl
    kubectl("label", "namespace", here.name, "pod-security.kubernetes.io/enforce=restricted")
    pod = here.pod("site", securityContext=RESTRICTED)
    with pytest.raises(CommandError, match="violates PodSecurity"):
        kubectl("create", "-f", "-", f"--namespace={here.name}", input=json.dumps(pod))
    pod["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    before, _ = here.create(pod)
    installation.policy(here.name, logStreaming="Allowed", gate="Injected")
    pod["metadata"]["name"] = "gated"
    after, said = here.create(pod)
    assert said == "pod/gated created\n"
    assert without_gate(after) == without_gate(before)
    (installer,) = after["spec"]["initContainers"]
    assert "runAsUser" not in installer["securityContext"]

    kubectl("label", "namespace", here.name, "pod-security.kubernetes.io/enforce-")
    root = here.pod("root")
    root["spec"]["securityContext"] = {"runAsUser": 0}
    stored, _ = here.create(root)
    assert stored["spec"]["initContainers"][0]["securityContext"]["runAsUser"] > 0


def test_once_is_enough(installation: Installation, here: Namespace) -> None:
    installation.policy(here.name, logStreaming="Allowed", gate="Injected")
    first, _ = here.create(here.pod("first"))
    again = {key: first[key] for key in ("apiVersion", "kind", "spec")}
    labels, annotations = first["metadata"]["labels"], first["metadata"]["annotations"]
    again["metadata"] = {"name": "again", "labels": labels, "annotations": annotations}
    second, said = here.create(again)
    assert said == "pod/again created\n"
    assert second["spec"] == first["spec"]
    assert (second["metadata"]["labels"], second["metadata"]["annotations"]) == (labels, annotations)

    # A manifest that was cleaned by half: the gate's parts are there once.
    half = {**again, "metadata": {"name": "half"}}
    half["spec"] = {**again["spec"], "containers": here.pod("x")["spec"]["containers"]}
    third, _ = here.create(half)
    assert [each["name"] for each in third["spec"]["initContainers"]] == [GATE]

    own = here.pod("own", args=["-u", "-m", "sitelog.gate", "-m", "/workspace"])
    stored, said = here.create(own)
    assert said == "pod/own created\n"
    assert is_untouched(stored, own)


def test_every_form_in_which_a_client_is_started(installation: Installation, here: Namespace) -> None:
    installation.policy(here.name, logStreaming="Allowed", gate="Injected")
    args = ["-m", "/ws", "-s", "fed_client.json"]
    forms = {
        "command": (["python3", "-m", CLIENT_MODULE, *args], None, (["python3", GATE_FOLDER, *args], None)),
        "image": (None, ["-u", "-m", CLIENT_MODULE, *args], (None, ["-u", GATE_FOLDER, *args])),
        "divided": (["python3", "-m"], [CLIENT_MODULE, *args], (["python3"], [GATE_FOLDER, *args])),
    }
    for name, (command, given, expected) in forms.items():
        stored, said = here.create(here.pod(name, command=command, args=given))
        assert said == f"pod/{name} created\n"
        (client,) = stored["spec"]["containers"]
        assert (client.get("command"), client.get("args")) == expected


@pytest.mark.parametrize("log_streaming", ["Allowed", "Forbidden"])
def test_what_cannot_have_it_runs_as_it_is_and_its_owner_is_told(
    installation: Installation, here: Namespace, log_streaming: str
) -> None:
    installation.policy(here.name, logStreaming=log_streaming, gate="Injected")
    line = f"exec python3 -m {CLIENT_MODULE} -m /ws"
    elsewhere = [{"name": "workspace", "mountPath": GATE_FOLDER}]
    cases = {
        "shell": (
            {"command": ["sh", "-c"], "args": [line]},
            "the module is no argument of its own on its command line",
        ),
        "glued": ({"command": ["python3", f"-m{CLIENT_MODULE}"]}, "the module is no argument of its own"),
        "script": ({"command": ["run.py"], "args": [CLIENT_MODULE]}, "-m does not stand before the module"),
        "mounted": ({"volumeMounts": elsewhere}, f"its container site-1 mounts something else at {GATE_FOLDER}"),
    }
    for name, (container, why) in cases.items():
        pod = here.pod(name, **container)
        stored, said = here.create(pod)
        assert f"Warning: Pod {here.name}/{name}: SiteLogPolicy {here.name}/site asks for the gate" in said
        assert f"it cannot be put in, because {why}" in said
        assert "start the client as NVFlare's chart does" in said
        assert "initContainers" not in stored["spec"]
        assert arguments(stored) == arguments(pod)


def test_the_account_of_everybody_is_warned_about(installation: Installation, here: Namespace) -> None:
    installation.policy(here.name, logStreaming="Allowed", gate="Injected")
    pod = here.pod("site")
    pod["spec"]["serviceAccountName"] = "default"
    stored, said = here.create(pod)
    assert f"Warning: Pod {here.name}/site runs under the ServiceAccount default" in said
    assert "give the FL client a ServiceAccount of its own" in said
    assert GATE_FOLDER in arguments(stored)


def test_dry_run_says_what_it_would_do(installation: Installation, here: Namespace) -> None:
    installation.policy(here.name, logStreaming="Allowed", gate="Injected", mode="DryRun")
    installation.policy(here.name, "zz-last", logStreaming="Allowed")  # enforced: it tells that both are known
    pod = here.pod("site")
    stored, said = here.create(pod)
    would = f"DryRun of SiteLogPolicy {here.name}/site: Pod {here.name}/site would be changed (GateInjected)"
    assert f"Warning: {would}" in said
    assert is_untouched(stored, pod)


def test_nothing_happens_where_nobody_asks_for_it(installation: Installation, here: Namespace) -> None:
    pod = here.pod("ungoverned")
    stored, said = here.create(pod)
    assert said == "pod/ungoverned created\n"
    assert is_untouched(stored, pod)
    installation.policy(here.name, logStreaming="Forbidden")
    installation.policy(here.name, "others", gate="Injected", selector={"matchLabels": {"site": "another"}})
    pod = here.pod("governed")
    stored, said = here.create(pod)
    assert said == "pod/governed created\n"
    assert is_untouched(stored, pod)
