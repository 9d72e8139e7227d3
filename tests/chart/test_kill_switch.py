"""The prohibition inside the API server: it holds while no process of Sitelog runs at all."""

import base64
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitelog.core.configmap.configmap import CONFIG_KEYS
from sitelog.core.jobpod.command_line import has_forbidding_argument
from sitelog.core.names import (
    ANNOTATION_LOG_STREAMING,
    FORBIDDING_ARGUMENT,
    FORBIDDING_VALUE,
    FORBIDDING_VARIABLE,
    LABEL_DECISION,
    LABEL_MANAGED,
    WORKER_MODULE,
)
from support.control_plane.api import ApiError, Json
from support.control_plane.control_plane import ControlPlane
from support.sitelog.chart_alone import ChartAlone

pytestmark = pytest.mark.usefixtures("crd")

CONFIG = "config_fed_client.json"
FORGED = {
    "labels": {LABEL_MANAGED: "true", LABEL_DECISION: "Stripped"},
    "annotations": {ANNOTATION_LOG_STREAMING: "Forbidden"},
}
LAUNCHED = ["-u", "-m", WORKER_MODULE, "-n", "job", "-c", "site-1", "--set", "secure_train=true", "uid=site-1"]
VARIABLE = {"name": FORBIDDING_VARIABLE, "value": FORBIDDING_VALUE}
STREAMING = {
    "as the launcher writes it": {"command": ["python3"], "args": LAUNCHED},
    "all in the command": {"command": ["python3", *LAUNCHED]},
    "without --set": {"command": ["python3"], "args": [*LAUNCHED[:7], FORBIDDING_ARGUMENT]},
    "another option behind": {"args": [*LAUNCHED, FORBIDDING_ARGUMENT, "--local_rank", "0"]},
    "taken by another option": {"args": [*LAUNCHED, "-s", FORBIDDING_ARGUMENT]},
    "the word before the last": {"args": [*LAUNCHED, FORBIDDING_ARGUMENT, "allow_log_streaming=true"]},
    "a word for Kubernetes to replace": {"args": [*LAUNCHED, "$(OPTION)", FORBIDDING_ARGUMENT]},
    "the word as a part of another": {"args": [*LAUNCHED, f"x\n--set\n{FORBIDDING_ARGUMENT}"]},
    "through a shell": {"command": ["sh", "-c"], "args": [f"python3 -m {WORKER_MODULE} --set {FORBIDDING_ARGUMENT}"]},
    "through a shell, the module named again": {
        "command": ["sh", "-c"],
        "args": [f"python3 -m {WORKER_MODULE}", WORKER_MODULE, "--set", FORBIDDING_ARGUMENT],
    },
    "through a shell that ends in it": {"args": [f"python3 -m {WORKER_MODULE}", "--set", FORBIDDING_ARGUMENT]},
}


@pytest.fixture(scope="module")
def chart_alone(control_plane: ControlPlane, crd: Json) -> Iterator[ChartAlone]:
    with ChartAlone(control_plane, "crds.enabled=false") as running:
        running.start_controller().pause()
        yield running


class Cluster:
    """Creates and changes objects; tells refusals by the kill switch from everything else."""

    def __init__(self, chart: ChartAlone) -> None:
        self.api = chart.api
        self.control_plane = chart.control_plane
        self.release = chart.namespace
        self._chart = chart

    def policy(self, namespace: str, name: str = "site", **spec: Any) -> None:
        """Apply a policy, let the controller run until the API server has been seen to go by it, and no longer."""
        [controller] = self._chart.controllers
        controller.resume()
        self._chart.policy(namespace, name, **spec)
        self._chart.wait_settled(namespace, name)
        controller.pause()

    def forbid(self, namespace: str, in_namespace: str | None = None, **spec: Any) -> None:
        self.policy(in_namespace or namespace, logStreaming="Forbidden", **spec)

    def lift(self, namespace: str) -> None:
        """Delete a policy that forbids, and wait until the API server goes by that."""
        self.policy(namespace, logStreaming="Allowed")
        self.control_plane.kubectl("delete", "slp", "site", f"--namespace={namespace}")

    def create(self, namespace: str, body: Json, *, dry_run: bool = False) -> Json:
        plural = {"ConfigMap": "configmaps", "Pod": "pods"}[body["kind"]]
        query = "?dryRun=All" if dry_run else ""
        return self.api.create(f"/api/v1/namespaces/{namespace}/{plural}{query}", body)

    def refuses(self, namespace: str, body: Json) -> bool:
        return refused(lambda: self.create(namespace, body, dry_run=True))


def refused(change: Callable[[], object]) -> bool:
    """Whether the kill switch refuses a change; any other error is one of the test."""
    try:
        change()
    except ApiError as error:
        if "prohibits log streaming" in str(error):
            return True
        raise
    return False


def configmap(key: str = CONFIG, text: str = "{}", **more: Any) -> Json:
    metadata = {"generateName": "job-", **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}, **more}


def pod(**container: Any) -> Json:
    containers = [{"name": "main", "image": "none", "env": [VARIABLE], **container}]
    metadata = {"generateName": "job-"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


@pytest.fixture
def cluster(chart_alone: ChartAlone) -> Cluster:
    return Cluster(chart_alone)


def test_every_job_configuration_is_refused_without_the_webhooks_mark(cluster: Cluster, namespace: str) -> None:
    cluster.forbid(namespace)
    for key in CONFIG_KEYS:
        binary = {"data": None, "binaryData": {key: base64.b64encode(b"{}").decode()}}
        for body in (configmap(key), configmap(**binary), configmap(key, immutable=True), configmap(metadata=FORGED)):
            assert refused(lambda body=body: cluster.create(namespace, body)), body


def test_the_message_names_the_policy_and_the_next_step(cluster: Cluster, namespace: str) -> None:
    cluster.forbid(namespace)
    with pytest.raises(ApiError) as refusal:
        cluster.create(namespace, configmap())
    assert f"with binding 'sitelog-{cluster.release}-configmaps.{namespace}.site." in str(refusal.value)
    assert f"kubectl get pods -n {cluster.release}" in str(refusal.value)


def test_every_way_to_change_a_stored_configuration_is_refused(cluster: Cluster, namespace: str) -> None:
    stored = cluster.create(namespace, configmap())
    path = f"/api/v1/namespaces/{namespace}/configmaps/{stored['metadata']['name']}"
    cluster.forbid(namespace)
    changed = {**stored, "data": {CONFIG: '{"components": []}'}}
    changed["metadata"] = {"name": stored["metadata"]["name"], **FORGED}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": changed["data"]}
    merge = {"data": changed["data"], "metadata": FORGED}
    assert refused(lambda: cluster.api.request("PUT", path, changed))
    assert refused(lambda: cluster.api.patch(path, merge))
    assert refused(lambda: cluster.api.patch(path, merge, "application/strategic-merge-patch+json"))
    assert refused(
        lambda: cluster.api.patch(
            f"{path}?fieldManager=t&force=true",
            manifest | {"metadata": {"name": stored["metadata"]["name"]}},
            "application/apply-patch+yaml",
        )
    )
    assert refused(lambda: cluster.api.patch(path, {"data": None, "binaryData": {CONFIG: "e30="}}))


def test_what_changes_no_configuration_passes(cluster: Cluster, namespace: str) -> None:
    stored = cluster.create(namespace, configmap())
    path = f"/api/v1/namespaces/{namespace}/configmaps/{stored['metadata']['name']}"
    cluster.forbid(namespace)
    cluster.api.patch(path, {"metadata": {"labels": {"owner": "somebody"}}})
    cluster.api.patch(path, {"data": {"other.txt": "x"}})
    marked = cluster.api.patch(path, {"metadata": FORGED})
    assert LABEL_DECISION not in marked["metadata"]["labels"], "a mark that nobody but Sitelog may write"
    cluster.api.delete(path)


@pytest.mark.parametrize("container", STREAMING.values(), ids=STREAMING.keys())
def test_job_pods_without_the_word_are_refused(cluster: Cluster, namespace: str, container: Json) -> None:
    cluster.forbid(namespace)
    body = pod(**container)
    assert cluster.refuses(namespace, body)
    beside = pod()
    beside["spec"]["initContainers"] = [{**body["spec"]["containers"][0], "name": "init"}]
    assert cluster.refuses(namespace, beside)


def test_job_pods_with_the_word_and_all_other_pods_pass(cluster: Cluster, namespace: str) -> None:
    cluster.forbid(namespace)
    for container in (
        {"args": [*LAUNCHED, FORBIDDING_ARGUMENT]},
        {"command": ["python3", *LAUNCHED, FORBIDDING_ARGUMENT]},
        {"args": [*LAUNCHED, "--local_rank", "0", "--set", FORBIDDING_ARGUMENT]},
        {"args": ["-m", "http.server"]},
        {},
    ):
        cluster.create(namespace, pod(**container), dry_run=True)


def test_a_job_cannot_be_added_to_a_running_pod(cluster: Cluster, namespace: str) -> None:
    running = cluster.create(namespace, pod(args=LAUNCHED))  # from before the prohibition
    cluster.forbid(namespace)
    path = f"/api/v1/namespaces/{namespace}/pods/{running['metadata']['name']}/ephemeralcontainers"

    def add(**container: Any) -> Json:
        added = [{"name": f"c{secrets.token_hex(3)}", "image": "none", **container}]
        kind = "application/strategic-merge-patch+json"
        return cluster.api.patch(f"{path}?dryRun=All", {"spec": {"ephemeralContainers": added}}, kind)

    assert refused(lambda: add(args=LAUNCHED))
    add(args=[*LAUNCHED, FORBIDDING_ARGUMENT], env=[VARIABLE])
    add(command=["sh"])  # kubectl debug goes on working


def test_nothing_else_is_touched(cluster: Cluster, namespace: str) -> None:
    cluster.forbid(namespace)
    cluster.create(namespace, configmap("config_fed_server.json"))
    cluster.create(namespace, configmap("notes", "JobLogStreamer"))
    elsewhere = "default"
    cluster.policy(elsewhere, "allows", logStreaming="Allowed")
    try:
        for text in ("{}", "not JSON"):
            cluster.create(elsewhere, configmap(text=text), dry_run=True)
        for container in STREAMING.values():
            cluster.create(elsewhere, pod(**container), dry_run=True)
    finally:
        cluster.control_plane.kubectl("delete", "slp", "allows", f"--namespace={elsewhere}")


def test_a_prohibition_in_the_releases_namespace_reaches_every_namespace(cluster: Cluster, namespace: str) -> None:
    cluster.policy(namespace, logStreaming="Allowed", priority=1000)
    cluster.forbid(namespace, in_namespace=cluster.release)
    try:
        assert cluster.refuses("default", configmap())
        assert cluster.refuses(namespace, pod(args=LAUNCHED))
    finally:
        cluster.lift(cluster.release)
        assert not cluster.refuses(namespace, configmap())


def test_no_allowing_policy_weakens_a_prohibition(cluster: Cluster, namespace: str) -> None:
    cluster.forbid(namespace, priority=-1000)
    for number in range(3):
        cluster.policy(namespace, f"allows-{number}", logStreaming="Allowed", priority=1000 - number)
    assert cluster.refuses(namespace, configmap())
    assert cluster.refuses(namespace, pod(args=LAUNCHED))


def test_dry_run_refuses_nothing(cluster: Cluster, namespace: str) -> None:
    cluster.forbid(namespace)
    cluster.policy(namespace, logStreaming="Forbidden", mode="DryRun")
    cluster.create(namespace, configmap(), dry_run=True)
    cluster.create(namespace, pod(args=LAUNCHED), dry_run=True)


def test_the_selector_counts_as_it_does_for_the_webhook(cluster: Cluster, namespace: str) -> None:
    expressions = [
        {"key": "team", "operator": "In", "values": ["a", "b"]},
        {"key": "kind", "operator": "NotIn", "values": ["open"]},
        {"key": "data", "operator": "Exists"},
        {"key": "test", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"site": "a"}, "matchExpressions": expressions}
    matching = {"site": "a", "team": "b", "data": ""}
    cluster.forbid(namespace, selector=selector)

    def refuses(**labels: str | None) -> bool:
        given = {key: value for key, value in {**matching, **labels}.items() if value is not None}
        return cluster.refuses(namespace, configmap(metadata={"labels": given}))

    assert refuses()
    assert refuses(kind="closed")
    for labels in (
        {"site": "b"},
        {"site": None},
        {"team": "c"},
        {"team": None},
        {"kind": "open"},
        {"data": None},
        {"test": "1"},
    ):
        assert not refuses(**labels), labels


WORDS = st.sampled_from(
    [
        "a=b",
        "",
        "--set",
        "--se",
        "-s",
        "--",
        "-1",
        "$(A)",
        "a$b",
        "x\ny",
        FORBIDDING_ARGUMENT,
        "allow_log_streaming=true",
        WORKER_MODULE,
    ]
)


def test_the_word_counts_as_it_does_for_the_webhook(cluster: Cluster, namespace: str) -> None:
    """The expression in the API server and core.jobpod agree on any command line."""
    cluster.forbid(namespace)

    @given(st.lists(WORDS, max_size=6))
    @settings(max_examples=120, deadline=None)
    def agree(arguments: list[str]) -> None:
        argv = ["-m", WORKER_MODULE, *arguments]
        assert cluster.refuses(namespace, pod(args=argv)) is not has_forbidding_argument(argv), argv

    agree()
