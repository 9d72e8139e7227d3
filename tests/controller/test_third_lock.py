"""The third lock in what is stored: a site's resources.json follows the policy both ways."""

import base64
import json
from pathlib import Path
from typing import Any

from support.control_plane.api import Json
from support.federation.federation import SITE, Federation
from support.federation.staged_site import staged_local
from support.sitelog.installation import Installation
from support.wait import wait_for

BASE = {"format_version": 2, "client": {"retry_timeout": 30}, "components": []}


class Site:
    """ConfigMaps of one namespace that hold a resources.json."""

    def __init__(self, installation: Installation, namespace: str) -> None:
        self.api = installation.control_plane.api
        self.resource = f"/api/v1/namespaces/{namespace}/configmaps"

    def create(self, name: str, config: object, key: str = "resources.json", **more: Any) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: json.dumps(config)}}
        self.api.create(self.resource, body | more)

    def get(self, name: str) -> Json:
        return dict(self.api.get(f"{self.resource}/{name}"))

    def config(self, name: str) -> Any:
        (text,) = self.get(name)["data"].values()
        return json.loads(text)

    def wait(self, name: str, decision: str) -> None:
        def decided() -> str:
            return str(self.get(name)["metadata"].get("labels", {}).get("sitelog.dev/decision", ""))

        wait_for(lambda: decided() == decision, 60, f"ConfigMap {name} to be {decision}")


def ready(installation: Installation, namespace: str) -> tuple[str, str, str]:
    condition = installation.ready(namespace)
    return condition["status"], condition["reason"], condition["message"]


def test_stored_ones_follow_the_policy_and_get_their_own_word_back(installation: Installation, namespace: str) -> None:
    site = Site(installation, namespace)
    own: dict[str, Any] = {
        "silent": BASE,
        "allows": {**BASE, "allow_log_streaming": True},
        "forbids": {**BASE, "allow_log_streaming": False},
    }
    for name, config in own.items():
        site.create(name, config, "resources.json.default" if name == "silent" else "resources.json")
    site.create("server", {"format_version": 2, "servers": [{}]})
    site.create("something", {"cpu": 1})

    installation.policy(namespace, logStreaming="Forbidden")
    for name, config in own.items():
        site.wait(name, "SwitchedOff")
        assert site.config(name) == {**config, "allow_log_streaming": False}
    wait_for(lambda: ready(installation, namespace)[1] == "InForce", 60, "the policy to do what it says")

    installation.policy(namespace, logStreaming="Allowed")
    for name, decision in (("silent", "SwitchedOn"), ("allows", "SwitchedOn"), ("forbids", "SiteForbids")):
        site.wait(name, decision)
        assert site.config(name) == own[name]
    wait_for(lambda: ready(installation, namespace)[1] == "SiteForbids", 60, "the disagreement in the status")
    assert ready(installation, namespace) == (
        "True",
        "SiteForbids",
        f"the site's own resources.json forbids log streaming, which stays: {namespace}/forbids",
    )
    for name in ("server", "something"):
        assert "labels" not in site.get(name)["metadata"]


def test_what_nvflares_tools_staged_before(installation: Installation, namespace: str, tmp_path: Path) -> None:
    site = Site(installation, namespace)
    federation = Federation(tmp_path / "federation")
    staged = staged_local(federation.workspace(SITE), tmp_path / "site", namespace)
    name = staged["metadata"]["name"]
    (key,) = (key for key in staged["binaryData"] if "resources.json" in key)
    site.api.create(site.resource, staged)
    before = json.loads(base64.b64decode(staged["binaryData"][key]))

    for log_streaming, decision, expected in (
        ("Forbidden", "SwitchedOff", {**before, "allow_log_streaming": False}),
        ("Allowed", "SwitchedOn", before),
    ):
        installation.policy(namespace, logStreaming=log_streaming)
        site.wait(name, decision)
        stored = site.get(name)["binaryData"]
        assert json.loads(base64.b64decode(stored[key])) == expected
        assert {**stored, key: ""} == {**staged["binaryData"], key: ""}


def test_an_immutable_one_is_reported_and_the_report_ends_with_the_prohibition(
    installation: Installation, namespace: str
) -> None:
    site = Site(installation, namespace)
    site.create("frozen", BASE, immutable=True)
    installation.policy(namespace, logStreaming="Forbidden")
    site.wait("frozen", "Refused")
    wait_for(lambda: ready(installation, namespace)[1] == "ObjectsRefused", 60, "the status to name it")
    assert ready(installation, namespace)[2] == (
        f"stored before and cannot be brought into line: {namespace}/frozen; delete them"
    )
    assert site.config("frozen") == BASE
    events = site.api.get(f"/api/v1/namespaces/{namespace}/events", fieldSelector="involvedObject.name=frozen")["items"]
    assert [(event["type"], event["reason"]) for event in events] == [("Warning", "Immutable")]

    installation.policy(namespace, logStreaming="Allowed")
    site.wait("frozen", "SwitchedOn")
    wait_for(lambda: ready(installation, namespace)[:2] == ("True", "InForce"), 60, "the status to be well again")
