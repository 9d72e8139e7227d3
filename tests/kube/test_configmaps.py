"""ConfigMaps from the API's JSON, and outcomes to merge patches."""

import base64
from typing import Any

import pytest

from sitelog.core.configmap.decide import decide
from sitelog.core.names import ANNOTATION_REASON, LABEL_DECISION
from sitelog.core.policy.effective import effective
from sitelog.core.policy.policy import Policy
from sitelog.kube.configmaps import MalformedError, merge_for, parse_configmap, stored_configmap

KEY = "config_fed_client.json"
Json = dict[str, Any]
ENCODED = base64.b64encode(b"{}").decode()
BODY: Json = {"metadata": {"namespace": "fl", "name": "job-1"}, "data": {KEY: "{}"}}


def test_what_is_absent_is_empty() -> None:
    found = parse_configmap({})
    assert (found.namespace, found.name, dict(found.data), found.configurations) == ("", "", {}, {})
    found = parse_configmap({"metadata": None, "data": None, "binaryData": None})
    assert found.configurations == {}


def test_a_generated_name_stands_for_the_name() -> None:
    assert parse_configmap({"metadata": {"generateName": "job-"}}).name == "job-"


def test_binary_data_is_decoded_and_goes_back_as_it_came() -> None:
    found = stored_configmap({"metadata": {"namespace": "fl", "name": "j"}, "binaryData": {KEY: ENCODED}})
    assert found.configurations == {KEY: b"{}"}
    merge = merge_for(found, decide(found, effective((Policy("fl", "a"),), {})))
    assert "data" not in merge
    assert b"JobLogStreamer" in base64.b64decode(merge["binaryData"][KEY])


def test_binary_data_that_is_none_is_named() -> None:
    with pytest.raises(MalformedError, match=r"ConfigMap job-1: binaryData\.config_fed_client\.json is not base64"):
        parse_configmap({"metadata": {"name": "job-1"}, "binaryData": {KEY: "x"}})


@pytest.mark.parametrize(
    ("body", "stored", "immutable"),
    [
        ({**BODY, "immutable": True}, None, False),
        ({**BODY, "immutable": True}, BODY, False),
        (BODY, {**BODY, "immutable": True}, True),
    ],
)
def test_only_what_is_stored_as_immutable_is(body: Json, stored: Json | None, immutable: bool) -> None:  # noqa: FBT001
    assert parse_configmap(body, stored=stored).immutable is immutable


def test_an_earlier_mark_is_read_from_the_object_or_else_from_what_is_stored() -> None:
    marked = {
        "metadata": {
            **BODY["metadata"],
            "labels": {LABEL_DECISION: "Clean"},
            "annotations": {ANNOTATION_REASON: "NoStreamer"},
        }
    }
    expected = {LABEL_DECISION: "Clean", ANNOTATION_REASON: "NoStreamer"}
    assert parse_configmap(BODY, stored=marked).provenance == expected
    assert stored_configmap(marked).provenance == expected
    assert parse_configmap(BODY).provenance == {}


def test_a_patch_holds_nothing_but_what_differs() -> None:
    found = stored_configmap(BODY)
    merge = merge_for(found, decide(found, effective((Policy("fl", "a"),), {})))
    assert set(merge) == {"metadata", "data"}
    assert merge_for(found, decide(found, effective((), {}))) == {}
