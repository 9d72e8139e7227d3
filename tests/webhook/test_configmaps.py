"""ConfigMaps on their way into a real API server, past the installed webhook."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sitelog.core.names import HANDLER_CONFIGMAPS
from support.control_plane.control_plane import CommandError, ControlPlane
from support.sitelog.installation import NAMESPACE, Installation, configmap
from support.wait import wait_for

KEY = "config_fed_client.json"
EMPTY: dict[str, Any] = {"format_version": 2, "executors": [], "components": []}
INJECTED = {
    "id": "auto_log_streamer",
    "path": "nvflare.app_common.logging.job_log_streamer.JobLogStreamer",
    "args": {"target_parent_server": True},
}
DECLARED = {**EMPTY, "components": [{**INJECTED, "id": "mine"}]}

Kubectl = Callable[..., str]


@pytest.fixture
def kubectl(installation: Installation, namespace: str) -> Kubectl:
    """Run kubectl in the namespace, with the object as its input; gives the object that comes back."""

    def run(*arguments: str, body: Any = None, check: bool = True) -> Any:
        text = None if body is None else json.dumps(body)
        more = ("-f", "-") if body is not None else ()
        output = ("--output=json",) if check else ()
        answer = installation.control_plane.kubectl(
            *arguments, *more, *output, f"--namespace={namespace}", input=text, check=check
        )
        return json.loads(answer) if check else answer

    return run


@pytest.fixture
def root_policy(installation: Installation) -> Iterator[Callable[..., None]]:
    """Apply a policy to every namespace; it is forgotten everywhere when the test is over."""

    def apply(**spec: Any) -> None:
        installation.policy(NAMESPACE, "everywhere", **spec)

    yield apply
    installation.control_plane.kubectl("delete", "slp", "everywhere", f"--namespace={NAMESPACE}")
    probe = json.dumps(configmap("default", "probe", EMPTY))

    def forgotten() -> bool:
        arguments = ("create", "--dry-run=server", "--output=json", "-f", "-")
        answers = [installation.control_plane.kubectl(*arguments, input=probe, check=False) for _ in range(4)]
        return all(answer and "sitelog.dev" not in answer for answer in answers)  # none: the API server refuses still

    wait_for(forgotten, 60, "the webhook's pods to forget the policy")


def components(body: Any, key: str = KEY) -> list[Any]:
    if key in body.get("binaryData", {}):
        return list(json.loads(base64.b64decode(body["binaryData"][key]))["components"])
    return list(json.loads(body["data"][key])["components"])


def calls(installation: Installation) -> float:
    pattern = rf'sitelog_review_seconds_count{{handler="{HANDLER_CONFIGMAPS}"}} (\S+)'
    return sum(float(count) for count in re.findall(pattern, installation.metrics("webhook")))


def test_every_way_to_write_one_is_decided(installation: Installation, namespace: str, kubectl: Kubectl) -> None:
    installation.policy(namespace, logStreaming="Allowed", streamer={"pollInterval": "250ms"})
    streamer = {**INJECTED, "args": {"target_parent_server": True, "poll_interval": 0.25}}

    created = kubectl("create", body=configmap(namespace, "created", EMPTY))
    assert components(created) == [streamer]
    assert created["metadata"]["labels"] == {"sitelog.dev/managed": "true", "sitelog.dev/decision": "Injected"}
    stamp = created["metadata"]["annotations"]
    assert stamp["sitelog.dev/policy"] == f"{namespace}/site"
    assert stamp["sitelog.dev/policy-generation"] == "1"
    assert stamp["sitelog.dev/log-streaming"] == "Allowed"
    assert stamp["sitelog.dev/reason"] == "StreamerInjected"
    assert re.fullmatch("sha256:[0-9a-f]{64}", stamp["sitelog.dev/config-digest"])
    assert json.loads(created["data"][KEY]) == {**EMPTY, "components": [streamer]}

    assert components(kubectl("apply", body=configmap(namespace, "applied", EMPTY))) == [streamer]
    assert components(kubectl("apply", body=configmap(namespace, "applied", {**EMPTY, "x": 1}))) == [streamer]
    assert components(kubectl("replace", body=configmap(namespace, "applied", {**EMPTY, "x": 2}))) == [streamer]
    patch = {"data": {KEY: json.dumps({**EMPTY, "x": 3})}}
    patched = kubectl("patch", "configmap", "applied", "--type=merge", f"--patch={json.dumps(patch)}")
    assert components(patched) == [streamer]
    assert json.loads(patched["data"][KEY])["x"] == 3

    generated = configmap(namespace, "", EMPTY, metadata={"generateName": "job-", "namespace": namespace})
    assert components(kubectl("create", body=generated)) == [streamer]
    binary = configmap(namespace, "binary", EMPTY)
    binary["binaryData"] = {KEY: base64.b64encode(binary.pop("data")[KEY].encode()).decode()}
    assert components(kubectl("create", body=binary)) == [streamer]

    rehearsed = kubectl("create", "--dry-run=server", body=configmap(namespace, "rehearsed", EMPTY))
    assert components(rehearsed) == [streamer]
    assert "rehearsed" not in kubectl("get", "configmaps", check=False)

    declared = kubectl("create", body=configmap(namespace, "declared", DECLARED))
    assert declared["data"][KEY] == json.dumps(DECLARED)
    assert declared["metadata"]["labels"]["sitelog.dev/decision"] == "Declared"


def test_what_is_not_governed_is_left_alone_and_what_is_no_configuration_costs_no_call(
    installation: Installation, namespace: str, kubectl: Kubectl
) -> None:
    created = kubectl("create", body=configmap(namespace, "ungoverned", DECLARED))
    assert created["data"][KEY] == json.dumps(DECLARED)
    assert "labels" not in created["metadata"]

    installation.policy(namespace, logStreaming="Forbidden")
    before = calls(installation)
    for name, data in {"plain": {"a": "b"}, "server": {"config_fed_server.json": json.dumps(DECLARED)}}.items():
        body = configmap(namespace, name, EMPTY) | {"data": data}
        assert kubectl("create", body=body)["data"] == data
    assert kubectl("patch", "configmap", "plain", "--type=merge", '--patch={"data": {"a": "c"}}')["data"] == {"a": "c"}
    assert calls(installation) == before
    kubectl("create", body=configmap(namespace, "governed", EMPTY))
    assert calls(installation) == before + 1


def test_refusals_and_warnings_say_what_to_do(installation: Installation, namespace: str, kubectl: Kubectl) -> None:
    installation.policy(namespace, logStreaming="Allowed")
    broken = configmap(namespace, "broken", "{ secret-word")
    answer = kubectl("create", body=broken, check=False)
    assert f"Warning: ConfigMap {namespace}/broken, key {KEY}: " in answer
    assert f"(SiteLogPolicy {namespace}/site: log streaming Allowed)" in answer
    assert "configmap/broken created" in answer

    installation.policy(namespace, logStreaming="Forbidden")
    changed = configmap(namespace, "created", "[1, secret-word")
    bad_bytes = configmap(namespace, "bytes", EMPTY) | {"data": {}, "binaryData": {KEY: "/w=="}}
    for body in (changed, bad_bytes):
        answer = kubectl("create", body=body, check=False)
        assert 'admission webhook "configmaps.sitelog.dev" denied the request' in answer
        assert f"ConfigMap {namespace}/{body['metadata']['name']}, key {KEY}: " in answer
        assert f"(SiteLogPolicy {namespace}/site: log streaming Forbidden)" in answer
        assert "secret-word" not in answer
    assert kubectl("create", body=configmap(namespace, "stripped", DECLARED))["metadata"]["labels"] == {
        "sitelog.dev/managed": "true",
        "sitelog.dev/decision": "Stripped",
    }

    # No log line of any process ever holds a configuration's content.
    for component in ("webhook", "controller"):
        log = installation.logs(component)
        assert namespace in log
        assert "secret-word" not in log


def test_a_prohibition_wins_wherever_it_stands(
    installation: Installation, namespace: str, kubectl: Kubectl, root_policy: Callable[..., None]
) -> None:
    installation.policy(namespace, "allows", logStreaming="Allowed", priority=1000)
    assert len(components(kubectl("create", body=configmap(namespace, "before", DECLARED)))) == 1

    installation.policy(namespace, "forbids", logStreaming="Forbidden", priority=-1000)
    stripped = kubectl("create", body=configmap(namespace, "disputed", DECLARED))
    assert components(stripped) == []
    assert stripped["metadata"]["annotations"]["sitelog.dev/policy"] == f"{namespace}/forbids"

    kubectl("delete", "slp", "forbids", check=False)
    root_policy(logStreaming="Forbidden")
    stripped = kubectl("create", body=configmap(namespace, "overruled", DECLARED))
    assert components(stripped) == []
    assert stripped["metadata"]["annotations"]["sitelog.dev/policy"] == f"{NAMESPACE}/everywhere"
    body = configmap("default", "elsewhere", DECLARED)
    arguments = ("create", "--dry-run=server", "--output=json", "-f", "-")
    elsewhere = json.loads(installation.control_plane.kubectl(*arguments, input=json.dumps(body)))
    assert components(elsewhere) == []


def test_dry_run_says_what_it_would_do_and_does_nothing(
    installation: Installation, namespace: str, kubectl: Kubectl
) -> None:
    installation.policy(namespace, logStreaming="Forbidden", mode="DryRun")

    def warned() -> str:
        answer: str = kubectl("create", "--dry-run=server", body=configmap(namespace, "job", DECLARED), check=False)
        return answer if "Warning" in answer else ""

    for _ in range(4):  # every pod of the webhook, whichever is asked
        answer = wait_for(warned, 60, "a warning of what would be")
        assert f"DryRun of SiteLogPolicy {namespace}/site: would be Stripped. ConfigMap {namespace}/job" in answer
    created = kubectl("create", body=configmap(namespace, "job", DECLARED))
    assert created["data"][KEY] == json.dumps(DECLARED)
    assert "labels" not in created["metadata"]
    assert "would be Refused" in kubectl("create", body=configmap(namespace, "broken", "{"), check=False)


def test_the_largest_configmap_passes(control_plane: ControlPlane, installation: Installation, namespace: str) -> None:
    """1 MiB of a character that takes six bytes in the API server's JSON: the review of a change has over 12 MiB."""
    installation.policy(namespace, logStreaming="Allowed")
    resource = f"/api/v1/namespaces/{namespace}/configmaps"

    def large(version: int) -> dict[str, Any]:
        text = json.dumps({"components": [], "version": version, "filler": ""})
        room = 1024 * 1024 - len(KEY) - len(text) - 300  # for the streamer
        return configmap(namespace, "large", text.replace('"filler": "', '"filler": "' + "<" * room))

    created = control_plane.api.create(resource, large(1))
    assert components(created) == [INJECTED]
    replaced = control_plane.api.request("PUT", f"{resource}/large", large(2))
    assert components(replaced) == [INJECTED]
    assert json.loads(replaced["data"][KEY])["version"] == 2


def test_the_command_fails_where_admission_refuses(
    installation: Installation, namespace: str, kubectl: Kubectl
) -> None:
    installation.policy(namespace, logStreaming="Forbidden")
    kubectl("create", body=configmap(namespace, "job", EMPTY))
    with pytest.raises(CommandError, match="denied the request"):
        kubectl("replace", body=configmap(namespace, "job", "[]"))
    assert components(kubectl("get", "configmap", "job")) == []
