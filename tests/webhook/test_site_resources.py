"""The third lock at admission: what NVFlare's own tools stage, on its way into a real API server."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from support.control_plane.api import ApiError, Json
from support.federation.federation import SITE, Federation
from support.federation.staged_site import staged_local
from support.sitelog.installation import Installation

PLAIN = {"format_version": 2, "client": {}, "components": []}


@pytest.fixture(scope="module")
def federation_kits(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Provisioned, not running."""
    return Federation(tmp_path_factory.mktemp("kits") / "federation")


def create(installation: Installation, namespace: str, body: Json) -> Json:
    body = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
    return dict(installation.control_plane.api.create(f"/api/v1/namespaces/{namespace}/configmaps", body))


def plain(name: str, **more: Any) -> Json:
    data = {"resources.json": json.dumps({**PLAIN, **more})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_staged_site_is_switched_off_on_its_way_in(
    installation: Installation, namespace: str, federation_kits: Federation, tmp_path: Path
) -> None:
    installation.policy(namespace, logStreaming="Forbidden")
    staged = staged_local(federation_kits.workspace(SITE), tmp_path / "site", namespace)
    (key,) = (key for key in staged["binaryData"] if "resources.json" in key)

    stored = create(installation, namespace, staged)

    before, after = (json.loads(base64.b64decode(body["binaryData"][key])) for body in (staged, stored))
    assert after == {**before, "allow_log_streaming": False}
    assert {**stored["binaryData"], key: ""} == {**staged["binaryData"], key: ""}
    assert stored["metadata"]["labels"]["sitelog.dev/decision"] == "SwitchedOff"

    # The tools apply the same again: the switch stays off, and what the site said stays known.
    again = staged | {"metadata": {**staged["metadata"], "namespace": namespace}}
    applied = json.loads(
        installation.control_plane.kubectl("apply", "--output=json", "-f", "-", input=json.dumps(again))
    )
    assert json.loads(base64.b64decode(applied["binaryData"][key])) == after
    installation.policy(namespace, logStreaming="Allowed")
    applied = json.loads(
        installation.control_plane.kubectl("apply", "--output=json", "-f", "-", input=json.dumps(again))
    )
    assert json.loads(base64.b64decode(applied["binaryData"][key])) == before


def test_other_resources_are_untouched(
    installation: Installation, namespace: str, federation_kits: Federation, tmp_path: Path
) -> None:
    installation.policy(namespace, logStreaming="Forbidden")
    server = staged_local(federation_kits.workspace("localhost"), tmp_path / "server", namespace)
    something = plain("something") | {"data": {"resources.json": '{"cpu": 2}', "other.json": json.dumps(PLAIN)}}
    for body in (server, something):
        stored = create(installation, namespace, body)
        assert stored.get("data") == body.get("data")
        assert stored.get("binaryData") == body.get("binaryData")
        assert "labels" not in stored["metadata"]


def test_a_sites_own_false_stays_and_its_owner_is_told(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, logStreaming="Allowed")
    body = plain("forbids", allow_log_streaming=False)
    here = f"--namespace={namespace}"
    said = installation.control_plane.kubectl("create", "-f", "-", here, input=json.dumps(body), check=False)
    assert (
        f"Warning: ConfigMap {namespace}/forbids: the site's own resources.json has allow_log_streaming false" in said
    )
    stored = installation.control_plane.api.get(f"/api/v1/namespaces/{namespace}/configmaps/forbids")
    assert stored["data"] == body["data"]
    untouched = create(installation, namespace, plain("allows"))
    assert "labels" not in untouched["metadata"]


def test_dry_run_says_what_it_would_do(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, logStreaming="Forbidden", mode="DryRun")
    installation.policy(namespace, "zz-last", logStreaming="Allowed")  # the webhook knows both when it knows this one
    here, body = f"--namespace={namespace}", plain("rehearsed")
    said = installation.control_plane.kubectl("create", "-f", "-", here, input=json.dumps(body), check=False)
    assert f"Warning: DryRun of SiteLogPolicy {namespace}/site: would be SwitchedOff" in said
    stored = installation.control_plane.api.get(f"/api/v1/namespaces/{namespace}/configmaps/rehearsed")
    assert stored["data"] == body["data"]
    assert "labels" not in stored["metadata"]


def test_an_immutable_one_that_is_stored_can_still_be_labelled(installation: Installation, namespace: str) -> None:
    create(installation, namespace, plain("frozen") | {"immutable": True})
    installation.policy(namespace, logStreaming="Forbidden")
    path = f"/api/v1/namespaces/{namespace}/configmaps/frozen"
    patched = installation.control_plane.api.patch(path, {"metadata": {"labels": {"a": "b"}}})
    assert patched["metadata"]["labels"] == {
        "a": "b",
        "sitelog.dev/managed": "true",
        "sitelog.dev/decision": "Refused",
    }
    with pytest.raises(ApiError):  # the API server's own rule
        installation.control_plane.api.patch(path, {"data": {"resources.json": "{}"}})
    fresh = create(installation, namespace, plain("fresh") | {"immutable": True})
    assert json.loads(fresh["data"]["resources.json"])["allow_log_streaming"] is False
