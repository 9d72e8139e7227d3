"""Policies that are older than their schema: what is in force of them, and what the status says."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import yaml

from sitelog.controller.policies.status import PolicyStatus
from sitelog.controller.policies.totals import Pending
from sitelog.core.policy.governed import Governed
from sitelog.core.policy.policy import LogStreaming
from sitelog.kube.client import KubeClient
from sitelog.kube.policy_store import PolicyStore
from support.control_plane.api import Json
from support.control_plane.control_plane import ControlPlane

OLD: dict[str, Json] = {
    "silent": {"mode": "Enforce"},
    "misspelt": {"logStreaming": "Allowed", "errorLog": {"uplaod": "Enabled"}},
    "forbids": {"logStreaming": "Forbidden", "selector": {"matchLabels": {"sitelog.dev/client": "site-1"}}},
    "restricts": {"logStreaming": "ErrorLogOnly", "priority": 5000, "mode": "DryRun"},
}


@pytest.fixture
def old(
    control_plane: ControlPlane, loosen_schema: Callable[[], AbstractContextManager[None]], namespace: str
) -> Iterator[str]:
    """A namespace with policies from before the schema knew better."""

    def create(name: str, spec: Json, *options: str) -> str:
        body = {"apiVersion": "sitelog.dev/v1alpha1", "kind": "SiteLogPolicy", "metadata": {"name": name}, "spec": spec}
        arguments = ("create", "--filename=-", f"--namespace={namespace}", *options)
        return control_plane.kubectl(*arguments, input=yaml.safe_dump(body), check=False)

    with loosen_schema():
        for name, spec in OLD.items():
            assert "created" in create(name, spec)
    assert "Required value" in create("new", {}, "--dry-run=server")
    yield namespace
    control_plane.kubectl("delete", "slp", "--all", f"--namespace={namespace}")


async def test_a_policy_that_cannot_be_read_says_so_and_what_counts_meanwhile(
    old: str, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    store = PolicyStore(Governed("sitelog-system"))
    keeper = PolicyStatus(client, store, Pending(0.0))
    await keeper.reconcile(set, {}, {}, {})

    here = {policy.name: policy for policy in store.policies if policy.namespace == old}
    assert {name: policy.log_streaming for name, policy in here.items()} == {
        "forbids": LogStreaming.FORBIDDEN,
        "restricts": LogStreaming.ERROR_LOG_ONLY,
    }
    assert all(policy.selector.matches({"any": "thing"}) for policy in here.values())

    async def ready(name: str) -> tuple[str, str, str]:
        policy: Any = await client.get(f"/apis/sitelog.dev/v1alpha1/namespaces/{old}/sitelogpolicies/{name}")
        (condition,) = (each for each in policy["status"]["conditions"] if each["type"] == "Ready")
        return condition["status"], condition["reason"], condition["message"]

    expected = {
        "silent": ("spec.logStreaming: it is required", "until then the policy does not count"),
        "forbids": (
            "spec.selector.matchLabels.sitelog.dev/client: Sitelog itself writes the labels",
            "until then it is Forbidden for all objects in mode Enforce, and nothing else of it counts",
        ),
        "restricts": ("spec.priority: ", "until then it is ErrorLogOnly for all objects in mode DryRun"),
    }
    for name, (why, meanwhile) in expected.items():
        status, reason, message = await ready(name)
        assert (status, reason) == ("False", "SpecInvalid")
        assert message.startswith(f"SiteLogPolicy {old}/{name}: {why}")
        assert meanwhile in message
    assert f"the status of SiteLogPolicy {old}/misspelt cannot be written" in caplog.text
    assert "spec.errorLog: Invalid value: correct the name of a field" in caplog.text
