"""Restarts of the API server: it refuses nothing where nothing is prohibited, and lets nothing in where something is.

From its first answer on, before it calls itself ready, too; with no process of Sitelog, and after the CRD was deleted.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sitelog.core.names import ANNOTATION_LOG_STREAMING, GROUP, LABEL_DECISION, LABEL_MANAGED, PLURAL, WORKER_MODULE
from support.control_plane.api import Json
from support.control_plane.control_plane import ControlPlane
from support.control_plane.siege import Siege
from support.sitelog.chart_alone import ChartAlone
from support.wait import wait_for

CRD_FILE = Path(__file__).parents[2] / "crds" / f"{PLURAL}.{GROUP}.yaml"
RESTARTS = 10
ENOUGH = 4  # answers to each kind of request after the API server calls itself ready
FREE, ALLOWED, REHEARSED, FORBIDDEN, ERROR_LOG_ONLY = "free", "allowed", "rehearsed", "forbidden", "error-log-only"
POLICIES = {
    ALLOWED: {"logStreaming": "Allowed"},
    REHEARSED: {"logStreaming": "Forbidden", "mode": "DryRun"},
    FORBIDDEN: {"logStreaming": "Forbidden", "selector": {"matchLabels": {"site": "a"}}},
    ERROR_LOG_ONLY: {"logStreaming": "ErrorLogOnly"},
}
OPEN, CLOSED = (FREE, ALLOWED, REHEARSED), (FORBIDDEN, ERROR_LOG_ONLY)


def configmap(key: str, **metadata: Json) -> Json:
    labels = {"site": "a", **metadata.pop("labels", {})}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"generateName": "job-", "labels": labels, **metadata},
        "data": {key: "{}"},
    }


def pod(*arguments: str, **labels: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "job-", "labels": {"site": "a", **labels}},
        "spec": {"containers": [{"name": "main", "image": "none", "command": ["python3", *arguments]}]},
    }


JOB = ("-u", "-m", WORKER_MODULE, "-n", "job", "-c", "site-1")
FORGED = configmap(
    "config_fed_client.json",
    labels={LABEL_MANAGED: "true", LABEL_DECISION: "Clean"},
    annotations={ANNOTATION_LOG_STREAMING: "Forbidden"},
)
PROHIBITED = {"a job's configuration": configmap("config_fed_client.json"), "a job's pod": pod(*JOB)}
ORDINARY = {"a ConfigMap": configmap("notes"), "a pod": pod("-m", "http.server")}
PASSES = {
    **{f"{what} in {where}": (where, body) for where in OPEN for what, body in (PROHIBITED | ORDINARY).items()},
    **{f"{what} in {where}": (where, body) for where in CLOSED for what, body in ORDINARY.items()},
    f"another site's pod in {FORBIDDEN}": (FORBIDDEN, pod(*JOB, site="b")),
}
IS_REFUSED = {
    f"{what} in {where}": (where, body)
    for where in CLOSED
    for what, body in (PROHIBITED | {"a forged job's configuration": FORGED}).items()
}


@pytest.fixture(scope="module")
def chart() -> Iterator[ChartAlone]:
    with ControlPlane() as control_plane, ChartAlone(control_plane) as running:
        for namespace in (*OPEN, *CLOSED):
            control_plane.kubectl("create", "namespace", namespace)
        for namespace in (*OPEN, *CLOSED):
            account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
            wait_for(lambda account=account: control_plane.exists(account), 60, f"the account of {namespace}")
        yield running


@pytest.fixture(scope="module")
def prohibited(chart: ChartAlone) -> ChartAlone:
    """The chart with policies that the API server goes by, and a controller that runs."""
    chart.start_controller()
    for namespace, spec in POLICIES.items():
        chart.policy(namespace, **spec)
    assert {namespace: chart.wait_settled(namespace) for namespace in POLICIES} == {
        ALLOWED: "NothingProhibited",
        REHEARSED: "DryRun",
        FORBIDDEN: "InForce",
        ERROR_LOG_ONLY: "InForce",
    }
    return chart


def besieged(chart: ChartAlone, restarts: int) -> str:
    """Restart the API server so many times, and give the account of all answers."""
    passed = refused = 0
    for _ in range(restarts):
        chart.control_plane.stop_api_server()
        with Siege(chart.api, PASSES | IS_REFUSED) as siege:
            chart.control_plane.start_api_server()
            siege.wait_for_more(ENOUGH)
        account = f"refused: {dict(siege.refused)}; let in: {dict(siege.passed)}"
        assert not [kind for kind in siege.refused if kind[0] in PASSES], account
        assert not [name for name in siege.passed if name in IS_REFUSED], account
        passed += siege.passed.total()
        refused += siege.refused.total()
    return f"{restarts} restarts: {passed} requests passed that had to, {refused} were refused that had to be"


def test_with_no_process_of_sitelog(prohibited: ChartAlone) -> None:
    prohibited.stop_controllers()
    print(besieged(prohibited, RESTARTS))


def test_after_the_crd_was_deleted(prohibited: ChartAlone) -> None:
    if not prohibited.controllers:
        prohibited.start_controller()
    bindings = prohibited.bindings().keys()
    assert bindings
    [controller] = prohibited.controllers
    prohibited.control_plane.kubectl("delete", "crd", f"{PLURAL}.{GROUP}")
    wait_for(lambda: "prohibitions stay as they are" in controller.log, 60, "the controller to find no CRD")
    print(besieged(prohibited, 1))
    assert prohibited.bindings().keys() == bindings

    # kopf ends the process some time after it finds no CRD, and a kubelet starts it again.
    # An empty CRD says nothing about what a site wants. Policies that are applied again do.
    prohibited.stop_controllers()
    prohibited.control_plane.kubectl("create", "--filename", str(CRD_FILE))
    prohibited.control_plane.kubectl("wait", "crd", f"{PLURAL}.{GROUP}", "--for=condition=Established")
    controller = prohibited.start_controller()
    prohibited.policy(FORBIDDEN, logStreaming="Allowed")
    prohibited.policy(ALLOWED, logStreaming="Allowed")
    assert prohibited.wait_settled(FORBIDDEN) == prohibited.wait_settled(ALLOWED) == "NothingProhibited"
    left = {name for name in bindings if f".{FORBIDDEN}." not in name}
    assert prohibited.bindings().keys() == left
    assert "stays: the CRD took its SiteLogPolicy along" in controller.log
