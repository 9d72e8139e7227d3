"""The totals in a policy's status, with many who count at the same time."""

import asyncio
from typing import Any

import pytest

from sitelog.controller.policies import totals
from sitelog.controller.policies.totals import Pending, count
from sitelog.core.names import UploadResult
from sitelog.kube.client import ConflictError, KubeClient
from support.sitelog.installation import Installation

COUNTED = 24


async def test_whatever_is_not_counted_is_said_to_be_not(
    installation: Installation, namespace: str, client: KubeClient, spec: dict[str, Any]
) -> None:
    """All at once: most of them meet others all the time."""
    installation.policy(namespace, **spec)
    uids = [f"uid-{number}" for number in range(COUNTED)]
    conflicts = 0

    async def one(uid: str) -> None:
        nonlocal conflicts
        while True:
            try:
                return await count(client, f"{namespace}/site", UploadResult.UPLOADED, uid)
            except ConflictError:
                conflicts += 1

    await asyncio.gather(*map(one, uids))
    assert conflicts
    status = installation.status(namespace)
    assert status["uploads"]["uploaded"] == COUNTED


def test_a_uid_stays_until_its_mark_has_been_there_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(totals.time, "monotonic", lambda: now)
    pending = Pending(60)
    assert pending.stay(["a", "b"], {"a", "b"}) == ["a", "b"]
    now = 150.0
    assert pending.stay(["a", "b"], {"a"}) == ["a", "b"]
    now = 209.0
    assert pending.stay(["a", "b"], {"a"}) == ["a", "b"]
    now = 210.0
    assert pending.stay(["a", "b"], set()) == ["a"]
    now = 270.0
    assert pending.stay(["a"], set()) == []
