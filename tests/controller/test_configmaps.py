"""ConfigMaps that are stored already, brought into line by the installed controller."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sitelog.controller.configmaps import reconciler as room
from sitelog.core.policy.governed import Governed
from sitelog.decider.door import Decider
from sitelog.kube.client import KubeClient
from sitelog.kube.peers import Share
from sitelog.kube.policy_store import PolicyStore
from support.control_plane.api import Json
from support.control_plane.control_plane import ControlPlane
from support.sitelog.installation import NAMESPACE, Installation, configmap
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for

KEY = "config_fed_client.json"
PATH = "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"
DECLARED = {"components": [{"id": "mine", "path": PATH}]}
EMPTY: dict[str, Any] = {"components": []}


class Stored:
    """The ConfigMaps of one namespace."""

    def __init__(self, installation: Installation, namespace: str) -> None:
        self._api = installation.control_plane.api
        self.resource = f"/api/v1/namespaces/{namespace}/configmaps"
        self._namespace = namespace

    def create(self, name: str, config: object, **more: Any) -> Json:
        return dict(self._api.create(self.resource, configmap(self._namespace, name, config, **more)))

    def get(self, name: str) -> Json:
        return dict(self._api.get(f"{self.resource}/{name}"))

    def paths(self, name: str) -> list[str]:
        return [entry["path"] for entry in json.loads(self.get(name)["data"][KEY])["components"]]

    def decision(self, name: str) -> str:
        return str(self.get(name)["metadata"].get("labels", {}).get("sitelog.dev/decision", ""))

    def wait(self, name: str, decision: str) -> None:
        wait_for(lambda: self.decision(name) == decision, 60, f"ConfigMap {name} to be {decision}")

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and message of the Events about one, once there are any: they come after everything else."""
        resource = self.resource.replace("/configmaps", "/events")
        about = f"involvedObject.name={name}"
        found = wait_for(lambda: self._api.get(resource, fieldSelector=about)["items"], 60, f"Events about {name}")
        return [(event["type"], event["reason"], event["message"]) for event in found]


@pytest.fixture
def stored(installation: Installation, namespace: str) -> Stored:
    return Stored(installation, namespace)


def ready(installation: Installation, namespace: str, name: str = "site") -> tuple[str, str, str]:
    """Status, reason and message of a policy's condition Ready."""
    condition = installation.ready(namespace, name)
    return condition["status"], condition["reason"], condition["message"]


def test_stored_ones_follow_the_policy(installation: Installation, namespace: str, stored: Stored) -> None:
    stored.create("declared", DECLARED)
    stored.create("empty", EMPTY)
    stored.create("other", EMPTY, data={"a": "b"})

    installation.policy(namespace, logStreaming="Forbidden")
    stored.wait("declared", "Stripped")
    stored.wait("empty", "Clean")
    assert stored.paths("declared") == []
    assert [event[:2] for event in stored.events("declared")] == [("Normal", "StreamerStripped")]
    assert "labels" not in stored.get("other")["metadata"]

    installation.policy(namespace, logStreaming="Allowed")
    for name in ("declared", "empty"):
        stored.wait(name, "Injected")
        assert stored.paths(name) == [PATH]

    installation.policy(namespace, logStreaming="Allowed", streamer={"logFileName": "other.txt"})
    for name in ("declared", "empty"):
        wait_for(lambda: "other.txt" in stored.get(name)["data"][KEY], 60, "the streamer's new parameter")  # noqa: B023
        assert len(stored.paths(name)) == 1
        assert stored.get(name)["metadata"]["annotations"]["sitelog.dev/policy-generation"] == "3"

    counts = {"injected": 2, "declared": 0, "stripped": 0, "clean": 0, "unreadable": 0}
    wait_for(lambda: installation.status(namespace)["configMaps"] == counts, 60, "the counts")
    assert ready(installation, namespace) == (
        "True",
        "InForce",
        "log streaming is Allowed: jobs that declare no log streaming of their own stream other.txt",
    )


def test_what_cannot_be_brought_into_line_is_said_and_keeps_nothing_else_waiting(
    installation: Installation, namespace: str, stored: Stored
) -> None:
    stored.create("a-broken", "{", metadata={"finalizers": ["test.sitelog.dev/held"]})
    stored.create("b-frozen", DECLARED, immutable=True)
    stored.create("c-declared", DECLARED)

    installation.policy(namespace, logStreaming="Forbidden")

    stored.wait("c-declared", "Stripped")
    stored.wait("a-broken", "Refused")
    stored.wait("b-frozen", "Refused")
    assert stored.get("b-frozen")["data"][KEY] == json.dumps(DECLARED)
    ((kind, reason, message),) = stored.events("b-frozen")
    assert (kind, reason) == ("Warning", "Immutable")
    assert message == (
        f"ConfigMap {namespace}/b-frozen, key {KEY}: it is immutable and cannot be changed; delete the ConfigMap and "
        f"create it again (SiteLogPolicy {namespace}/site: log streaming Forbidden)"
    )
    wait_for(lambda: ready(installation, namespace)[1] == "ObjectsRefused", 60, "the status to name them")
    assert ready(installation, namespace) == (
        "False",
        "ObjectsRefused",
        f"stored before and cannot be brought into line: {namespace}/a-broken, {namespace}/b-frozen; delete them",
    )
    lines = installation.control_plane.kubectl("get", "slp", "site", f"--namespace={namespace}").splitlines()
    columns = [" ".join(line.split()) for line in lines]
    assert columns[0] == "NAME MODE STREAMING INJECTED STRIPPED UPLOADED ENFORCED READY AGE"
    assert columns[1].split()[:-1] == ["site", "Enforce", "Forbidden", "0", "1", "0", "True", "False"]

    # What stands refused can still be deleted, its finalizer too; the next step in the message works.
    installation.control_plane.kubectl("delete", "configmap", "b-frozen", "a-broken", "--wait=false", "-n", namespace)
    free = '--patch={"metadata": {"finalizers": null}}'
    installation.control_plane.kubectl("patch", "configmap", "a-broken", "--type=merge", free, "-n", namespace)
    wait_for(lambda: ready(installation, namespace)[0] == "True", 60, "the status to be well again")


def test_the_status_says_what_is_in_force(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, "allows", logStreaming="Allowed", priority=5)
    assert ready(installation, namespace, "allows") == (
        "True",
        "InForce",
        "log streaming is Allowed: jobs that declare no log streaming of their own stream log.txt",
    )
    installation.policy(namespace, "rehearses", logStreaming="Forbidden", mode="DryRun")
    assert ready(installation, namespace, "rehearses") == (
        "True",
        "DryRun",
        "nothing is changed or refused; warnings and wouldBe tell what would be",
    )
    assert ready(installation, namespace, "allows")[1] == "InForce"

    installation.policy(namespace, "restricts", logStreaming="ErrorLogOnly")
    message = f"SiteLogPolicy {namespace}/restricts says ErrorLogOnly, and the stricter policy wins"
    wait_for(lambda: ready(installation, namespace, "allows")[2] == message, 60, "the stricter policy's word")
    assert ready(installation, namespace, "restricts")[2] == (
        "log streaming is ErrorLogOnly: no live log; this policy has no errorLog.upload Enabled"
    )

    installation.policy(namespace, "forbids", logStreaming="Forbidden")
    wait_for(lambda: "forbids says" in ready(installation, namespace, "restricts")[2], 60, "the strictest word")
    message = f"SiteLogPolicy {namespace}/forbids says Forbidden, and the stricter policy wins"
    for name in ("allows", "restricts"):
        assert ready(installation, namespace, name) == ("True", "Overridden", message)
    assert ready(installation, namespace, "forbids")[1] == "InForce"
    since = installation.ready(namespace, "forbids")["lastTransitionTime"]
    assert datetime.now(UTC) - datetime.fromisoformat(since) < timedelta(minutes=1)

    wide = installation.control_plane.kubectl("get", "slp", "-o", "wide", f"--namespace={namespace}")
    assert re.search(rf"allows +Enforce +Allowed .*True .*Overridden +{re.escape(message)}", wide)


@pytest.fixture
def secret(namespace: str) -> PolicyStore:
    """A policy that no other process knows."""
    store = PolicyStore(Governed("sitelog-system"))
    policy = {"apiVersion": "sitelog.dev/v1alpha1", "kind": "SiteLogPolicy", "spec": {"logStreaming": "Forbidden"}}
    store.put({**policy, "metadata": {"name": "secret", "namespace": namespace}})
    return store


async def test_what_a_webhook_let_in_before_it_heard_of_the_change_is_found(
    client: KubeClient, secret: PolicyStore, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only time is played."""
    now = 1000.0
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: now))
    reconciler = room.ConfigMapReconciler(client, secret, Decider(), retention=1e9)
    for seconds, found in ((0, True), (5, False), (15, True), (60, False), (601, True)):
        now += seconds
        stored.create(f"after-{seconds}", DECLARED)
        await reconciler.reconcile()
        assert (stored.paths(f"after-{seconds}") == []) is found


async def test_a_controller_does_its_share_first_and_then_that_of_one_that_is_gone(
    client: KubeClient, secret: PolicyStore, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, uids, done = Share(0, 2), dict[str, str](), list[str]()
    for number in range(12):
        made = stored.create(f"job-{number}", DECLARED)
        uids[made["metadata"]["name"]] = made["metadata"]["uid"]

    async def half(*_: object) -> Share:
        return own

    patch = client.patch

    async def noted(resource: str, *arguments: Any, **options: Any) -> Any:
        done.append(uids[resource.rpartition("/")[2]])
        return await patch(resource, *arguments, **options)

    monkeypatch.setattr(room, "share", half)
    monkeypatch.setattr(client, "patch", noted)
    await room.ConfigMapReconciler(client, secret, Decider(), retention=1e9).reconcile()
    first = list(dict.fromkeys(done))  # the webhook, which does not know the policy, takes the mark away again
    assert sorted(first) == sorted(uids.values())
    mine = [own.has(uid) for uid in first]
    assert mine == sorted(mine, reverse=True)
    assert len(set(mine)) == 2
    assert all(stored.paths(name) == [] for name in uids)


def test_what_the_gate_published_long_ago_is_removed(
    control_plane: ControlPlane, installation: Installation, namespace: str, stored: Stored, tmp_path: Path
) -> None:
    """A second controller, for which a second is long ago; the installed one leaves them alone for a week."""
    old = {"sitelog.dev/published-by": "gate"}
    stored.create("published", EMPTY, metadata={"labels": old})
    stored.create("foreign", EMPTY, metadata={"labels": {"sitelog.dev/published-by": "somebody"}})
    stored.create("plain", EMPTY)
    with SitelogProcess(
        "controller",
        f"--root-namespace={NAMESPACE}",
        "--upload-image=none",
        f"--gate-role=sitelog-{NAMESPACE}-gate",
        f"--admission-policy-prefix=sitelog-{NAMESPACE}",
        "--published-retention=1s",
        "--sweep-interval=1s",
        directory=tmp_path,
        kubeconfig=control_plane.service_account_kubeconfig(NAMESPACE, "sitelog-controller"),
    ) as controller:
        gone = f"ConfigMap {namespace}/published: removed, it was published long ago"
        wait_for(lambda: gone in controller.log, 60, "the published ConfigMap to be removed")
    left = control_plane.kubectl("get", "configmaps", "-o", "name", f"--namespace={namespace}").split()
    assert left == ["configmap/foreign", "configmap/kube-root-ca.crt", "configmap/plain"]
