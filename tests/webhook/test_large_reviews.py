"""What kopf is given of a large review: enough for the same patch, and no more."""

import json
from typing import Any

import jsonpatch
import kopf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.names import HANDLER_CONFIGMAPS, LABEL_DECISION, Decision
from sitelog.core.policy.effective import Policies
from sitelog.core.policy.policy import LogStreaming, Policy
from sitelog.webhook.admission_review import NotAReviewError, outline, parse_review
from sitelog.webhook.large_reviews import Asked, review_raw
from support.inputs.configurations import STREAMER

KEYS = st.sampled_from("abc")
BODIES = st.dictionaries(KEYS, st.none() | st.text(max_size=2) | st.dictionaries(KEYS, st.text(max_size=2)), max_size=3)


def review(body: Any, old: Any = None) -> dict[str, Any]:
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    operation = "CREATE" if old is None else "UPDATE"
    request = {"uid": "u", "userInfo": {}, "resource": resource, "operation": operation, "object": body}
    return {"request": {**request, "oldObject": old}}


def patched(body: Any, seen: Any, merge: Any) -> Any:
    patch = kopf.Patch(merge, body=kopf.Body(seen))
    return jsonpatch.apply_patch(body, patch.as_json_patch())


@given(BODIES, st.dictionaries(KEYS, st.text(max_size=2) | st.dictionaries(KEYS, st.text(max_size=2)), max_size=3))
def test_a_patch_of_the_outline_is_one_of_the_object(body: dict[str, Any], merge: dict[str, Any]) -> None:
    body = {"metadata": {"name": "x"}, **body}
    merge = {
        key: value for key, value in merge.items() if isinstance(body.get(key, {}), dict) or isinstance(value, str)
    }
    merge = {
        key: value for key, value in merge.items() if not (isinstance(value, str) and isinstance(body.get(key), dict))
    }
    cut = outline(review(body), merge)["request"]["object"]
    assert patched(body, cut, merge) == patched(body, body, merge)


def asked(body: Any, old: Any = None, *, undecided: bool = False) -> Asked:
    policies = Policies("sitelog-system", (Policy("fl", "site", log_streaming=LogStreaming.FORBIDDEN),))
    raw = json.dumps(review(body, old)).encode()
    return Asked(raw, HANDLER_CONFIGMAPS, policies, "image", undecided=undecided)


def configmap(text: str, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "namespace": "fl", **metadata},
        "data": {"config_fed_client.json": text, "y": "z"},
    }


STREAMING = json.dumps({"components": [{"id": "s", "path": STREAMER}], "filling": "x" * 500_000})


def test_a_large_configuration_is_decided_and_not_shown_to_kopf() -> None:
    seen, found = review_raw(asked(configmap(STREAMING)))
    assert found.decision == Decision.STRIPPED
    assert len(json.dumps(seen)) < 1_000
    assert set(found.merge["data"]) == {"config_fed_client.json"}


def test_one_that_was_too_much_is_refused_without_a_look_at_it() -> None:
    _, found = review_raw(asked(configmap(STREAMING), undecided=True))
    assert (found.decision, found.reason) == (Decision.REFUSED, "TooLarge")
    assert found.refusal


def test_what_is_stored_and_was_refused_is_compared() -> None:
    refused = {LABEL_DECISION: Decision.REFUSED.value}
    stored = configmap("no JSON", labels=refused)
    assert review_raw(asked(stored, stored))[1].refusal is None
    assert review_raw(asked(configmap("nor this", labels=refused), stored))[1].refusal
    assert review_raw(asked(stored, configmap("no JSON")))[1].refusal is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"request": 1}', b'{"request": {"uid": "u"}}', b"[" * 9_999]
)
def test_what_is_no_review_is_refused(body: bytes) -> None:
    with pytest.raises(NotAReviewError):
        parse_review(body)
