"""What a process knows of the policies, where the list and the watch cross."""

from collections.abc import AsyncIterator
from typing import Any

from sitelog.core.policy.governed import Governed
from sitelog.core.policy.policy import LogStreaming
from sitelog.kube.client import ApiError
from sitelog.kube.policy_list import sync_policies
from sitelog.kube.policy_store import PolicyStore


def policy(log_streaming: str, name: str = "site") -> dict[str, Any]:
    return {
        "apiVersion": "sitelog.dev/v1alpha1",
        "kind": "SiteLogPolicy",
        "metadata": {"name": name, "namespace": "hospital"},
        "spec": {"logStreaming": log_streaming},
    }


class Crossing:
    """An API server whose answer to the first list is older than what the watch tells meanwhile."""

    def __init__(self, store: PolicyStore) -> None:
        self._store = store
        self.lists = 0

    async def pages(self, _resource: str, **_: Any) -> AsyncIterator[list[dict[str, Any]]]:
        self.lists += 1
        if self.lists == 1:
            self._store.put(policy("Forbidden"))
            self._store.put(policy("Forbidden", "another"))
            yield [policy("Allowed")]
        else:
            yield [policy("Forbidden"), policy("Forbidden", "another")]


async def test_a_list_never_takes_back_what_the_watch_has_told() -> None:
    store = PolicyStore(Governed("sitelog-system"))
    api: Any = Crossing(store)

    await sync_policies(api, store)

    assert api.lists == 2
    assert [each.log_streaming for each in store.policies] == [LogStreaming.FORBIDDEN] * 2


class Failing:
    """An API server that fails once."""

    def __init__(self, store: PolicyStore) -> None:
        self._store = store
        self.synced_before = True

    async def pages(self, _resource: str, **_: Any) -> AsyncIterator[list[dict[str, Any]]]:
        self.synced_before, before = self._store.synced, self.synced_before
        if before:
            raise ApiError(503, "ServiceUnavailable", "later")
        yield []


async def test_no_policy_is_an_answer_only_after_a_list(monkeypatch: Any) -> None:
    monkeypatch.setattr("sitelog.kube.policy_list._RETRY_SECONDS", 0.0)
    store = PolicyStore(Governed("sitelog-system"))
    api: Any = Failing(store)
    await sync_policies(api, store)
    assert not api.synced_before
    assert store.synced
    assert store.synced_at > 0
