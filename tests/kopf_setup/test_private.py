"""What Sitelog uses of kopf that kopf does not promise is still as it is used."""

import inspect
import re
from pathlib import Path

import kopf
import pytest
from kopf._core.reactor import inventory

import sitelog
from sitelog.kopf_setup.private import NoMemories, ResourceMemories, UnknownResourceError
from sitelog.kopf_setup.setup import new_registry


def test_no_other_file_asks_kopf_for_what_is_private() -> None:
    root = Path(sitelog.__file__).parent
    asking = {file.name for file in root.rglob("*.py") if re.search(r"kopf\._", file.read_text())}
    assert asking == {"private.py"}


def test_an_operator_takes_its_memories_from_outside() -> None:
    assert "memories" in inspect.signature(kopf.operator).parameters
    assert ResourceMemories is inventory.ResourceMemories


async def test_nothing_is_remembered_of_an_object() -> None:
    body = {"metadata": {"uid": "one", "name": "a", "namespace": "b"}}
    ordinary, ours = ResourceMemories(), NoMemories()
    assert await ordinary.recall(body) is await ordinary.recall(body)
    assert await ours.recall(body) is not await ours.recall(body)


async def test_a_review_of_an_unknown_resource_raises_what_the_server_waits_out() -> None:
    """Until kopf has learnt which resources there are, every one is unknown to it."""
    from kopf._cogs.structs import ephemera, references  # noqa: PLC0415 - the test's own
    from kopf._core.engines import admission  # noqa: PLC0415

    request = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "one",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "userInfo": {},
            "object": {"metadata": {}},
            "oldObject": None,
            "dryRun": False,
        },
    }
    with pytest.raises(UnknownResourceError):
        await admission.serve_admission_request(
            request,
            memories=NoMemories(),
            memobase=ephemera.Memo(),
            registry=new_registry(),
            settings=kopf.OperatorSettings(),
            insights=references.Insights(),
            indices={},
        )
