"""Configurations that cannot be used: what is said about each, under both words, and that nothing ever raises."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.decide import decide
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.jobconfig.formats import Format
from sitelog.core.jobconfig.verdict import judge
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.effective import effective
from sitelog.core.policy.policy import LogStreaming, Policy, Streamer
from support.inputs.configurations import STREAMER, chaotic, devious, values
from support.inputs.hypothesis_profiles import at_least

ALLOWED, FORBIDDEN = LogStreaming.ALLOWED, LogStreaming.FORBIDDEN
MIB = 1024 * 1024
DEEP = "[" * (MIB // 2) + "]" * (MIB // 2)
DEEP_OBJECT = '{"a":' * 100_000 + "1" + "}" * 100_000
DOUBLED = (
    "{" + ",".join(f'"a{i}": "{{a{i + 1}}}{{a{i + 1}}}"' for i in range(60)) + ', "components": [{"path": "{a0}"}]}'
)
BRANCHING = json.dumps(
    {f"o{i}": {"path": "m.C", "args": dict.fromkeys("abcdefgh", f"{{o{i + 1}}}")} for i in range(30)}
    | {"components": ["{o0}"]}
)

# name -> (text, reason, part of the message); refused where the site forbids, left alone where it allows
UNREADABLE: dict[str, tuple[str, Reason, str]] = {
    "empty": ("", Reason.NOT_JSON, "it is not JSON (Expecting value at line 1 column 1)"),
    "white space": (" \n ", Reason.NOT_JSON, "it is not JSON"),
    "no JSON": ('{"components": [}', Reason.NOT_JSON, "line 1 column 17"),
    "HOCON in a .json": ("components = []", Reason.NOT_JSON, "it is not JSON"),
    "byte order mark": ("\ufeff{}", Reason.NOT_JSON, "it begins with a byte order mark"),
    "two values": ("{} {}", Reason.NOT_JSON, "Extra data"),
    "huge integer": ('{"a": ' + "9" * 5000 + "}", Reason.NOT_JSON, "a number of too many digits"),
    "a list": ("[]", Reason.NOT_AN_OBJECT, "its top level is a list, not an object"),
    "null": ("null", Reason.NOT_AN_OBJECT, "its top level is null, not an object"),
    "a string": ('"components"', Reason.NOT_AN_OBJECT, "its top level is a string, not an object"),
    "a number": ("1e400", Reason.NOT_AN_OBJECT, "its top level is a number, not an object"),
    "a boolean": ("true", Reason.NOT_AN_OBJECT, "its top level is a boolean, not an object"),
    "a mebibyte of nesting": (DEEP, Reason.TOO_LARGE, "more work to follow than a decision may take"),
    "nested objects": (DEEP_OBJECT, Reason.TOO_DEEP, "nested too deep to be read"),
    "endless variables": ('{"a": "{b}", "b": "{a}", "components": "{a}"}', Reason.UNDECIDABLE, "without end"),
    "a text that doubles": (DOUBLED, Reason.TOO_LARGE, "more work to follow than a decision may take"),
    "objects that double": (BRANCHING, Reason.TOO_LARGE, "more work to follow than a decision may take"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_refused_where_the_site_forbids(name: str) -> None:
    text, reason, part = UNREADABLE[name]
    verdict = judge(text, FORBIDDEN, Streamer())
    assert (verdict.decision, verdict.reason, verdict.text) == (Decision.REFUSED, reason, None)
    assert part in verdict.message


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_passes_as_it_is_where_the_site_allows(name: str) -> None:
    text, reason, part = UNREADABLE[name]
    verdict = judge(text, ALLOWED, Streamer())
    assert (verdict.decision, verdict.reason, verdict.text) == (Decision.UNREADABLE, reason, text)
    assert part in verdict.message
    assert verdict.message.endswith("; it passes as it is, without a log streamer")


@pytest.mark.parametrize("components", ["text", 7, True, {"a": 1}, {}, "", "{nowhere}", "{list}"])
def test_components_that_are_no_list_get_a_streamer_beside_them_and_have_none(components: Any) -> None:
    config = {"components": components, "list": []}
    text = json.dumps(config)
    allowed, forbidden = judge(text, ALLOWED, Streamer()), judge(text, FORBIDDEN, Streamer())
    assert allowed.text is not None
    added = json.loads(allowed.text)
    assert added.pop("components.#1")["path"] == STREAMER
    assert added == config
    assert (forbidden.decision, forbidden.text) == (Decision.CLEAN, text)


def test_a_large_configuration_without_a_variable_is_within_the_budget() -> None:
    wide = json.dumps({"format_version": 2, "components": [], "table": [[i, i + 1] for i in range(60_000)]})
    assert judge(wide, FORBIDDEN, Streamer()).decision is Decision.CLEAN
    assert judge(wide, ALLOWED, Streamer()).decision is Decision.INJECTED


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 4000, '"\\ud800"', '"\\u0000"'])
def test_what_python_reads_and_others_do_not_stays_as_it_is(literal: str) -> None:
    text = f'{{"x": {literal}, "components": []}}'
    injected = judge(text, ALLOWED, Streamer())
    assert injected.text is not None
    assert json.dumps(json.loads(injected.text)["x"]) == json.dumps(json.loads(literal))
    assert judge(text, FORBIDDEN, Streamer()).text == text


def test_the_last_of_two_equal_keys_counts_as_for_nvflare() -> None:
    streaming = f'[{{"id": "s", "path": "{STREAMER}"}}]'
    last, first = f'{{"components": [], "components": {streaming}}}', f'{{"components": {streaming}, "components": []}}'
    assert judge(first, FORBIDDEN, Streamer()).text == first
    stripped = judge(last, FORBIDDEN, Streamer())
    assert (stripped.decision, stripped.text) == (Decision.STRIPPED, '{\n  "components": []\n}')
    assert judge(last, ALLOWED, Streamer()).decision is Decision.DECLARED


def test_keys_of_yaml_that_are_no_text_are_no_components() -> None:
    text = "1: {path: x}\ntrue: 2\ncomponents: []\n"
    assert judge(text, FORBIDDEN, Streamer(), Format.YAML).decision is Decision.CLEAN


def judged(log_streaming: LogStreaming, **fields: Any) -> Outcome:
    return decide(
        ConfigMap("fl", "job-1", **fields), effective((Policy("fl", "site", log_streaming=log_streaming),), {})
    )


WORDS = "(SiteLogPolicy fl/site: log streaming {})"
BINARY = {"binary_data": {"config_fed_client.json": b'{"a": "\xff"}'}}
STREAMING = json.dumps({"components": [{"id": "s", "path": STREAMER}]})
FROZEN = {"data": {"config_fed_client.json": STREAMING}, "immutable": True}


def test_a_configuration_that_is_no_text() -> None:
    refused, passed = judged(FORBIDDEN, **BINARY), judged(ALLOWED, **BINARY)
    sentence = "ConfigMap fl/job-1, key config_fed_client.json: it is not UTF-8 text (byte 7)"
    assert (refused.decision, refused.reason) == (Decision.REFUSED, Reason.NOT_UTF8)
    assert refused.message == f"{sentence} {WORDS.format('Forbidden')}"
    assert (passed.decision, passed.reason, passed.texts) == (Decision.UNREADABLE, Reason.NOT_UTF8, {})
    assert passed.warnings == (passed.message,)
    assert passed.message.startswith(sentence)


def test_a_configuration_among_binary_data_is_decided_like_any_other() -> None:
    outcome = judged(FORBIDDEN, binary_data={"config_fed_client.json": STREAMING.encode()})
    assert (outcome.decision, [*outcome.texts]) == (Decision.STRIPPED, ["config_fed_client.json"])


def test_a_lone_surrogate_is_no_text() -> None:
    assert judged(FORBIDDEN, data={"config_fed_client.json": '"\ud800"'}).reason is Reason.NOT_UTF8


def test_an_immutable_object_that_would_have_to_change() -> None:
    refused = judged(FORBIDDEN, **FROZEN)
    assert (refused.decision, refused.reason, refused.texts) == (Decision.REFUSED, Reason.IMMUTABLE, {})
    assert "it is immutable and cannot be changed; delete the ConfigMap and create it again" in refused.message
    assert judged(ALLOWED, **FROZEN).decision is Decision.DECLARED
    passed = judged(ALLOWED, data={"config_fed_client.json": "{}"}, immutable=True)
    assert (passed.decision, passed.reason, passed.texts) == (Decision.UNREADABLE, Reason.IMMUTABLE, {})
    assert passed.warnings


# --- nothing raises ------------------------------------------------------------------------------------------------
json_texts = st.one_of(values, devious(), chaotic()).map(json.dumps)
texts = st.one_of(
    json_texts,
    st.text(max_size=200),
    st.text(alphabet='{}[]":,=$@\n abcomponents#1.', max_size=80),
    st.builds(lambda text, at: text[:at], json_texts, st.integers(0, 80)),
)


@at_least(300)
@given(texts, st.sampled_from(LogStreaming), st.sampled_from(Format), st.booleans())
def test_no_text_makes_a_decision_fail(text: str, log_streaming: LogStreaming, form: Format, before: bool) -> None:  # noqa: FBT001
    verdict = judge(text, log_streaming, Streamer(), form, injected_before=before)
    assert (verdict.text is None) == (verdict.decision is Decision.REFUSED)
    assert verdict.decision is not Decision.REFUSED or log_streaming.prohibits_streamer
    assert verdict.message
    assert "\n" not in verdict.message


@given(st.binary(max_size=200), st.sampled_from(LogStreaming))
def test_no_bytes_make_a_decision_fail(raw: bytes, log_streaming: LogStreaming) -> None:
    outcome = judged(log_streaming, binary_data={"config_fed_client.json": raw, "config_fed_client.conf": raw})
    assert outcome.decision is not Decision.UNGOVERNED
