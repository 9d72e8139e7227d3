"""Whole ConfigMaps: which keys count, what the stamp says and how long, what DryRun rehearses, what fits."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.configmap.configmap import CONFIG_KEYS, MAX_BYTES, ConfigMap
from sitelog.core.configmap.decide import decide
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import (
    ANNOTATION_CONFIG_DIGEST,
    ANNOTATION_LOG_STREAMING,
    ANNOTATION_POLICY,
    ANNOTATION_POLICY_GENERATION,
    ANNOTATION_REASON,
    ANNOTATION_RESULT_DIGEST,
    LABEL_DECISION,
    LABEL_MANAGED,
    Decision,
    Reason,
)
from sitelog.core.policy.effective import effective
from sitelog.core.policy.policy import LogStreaming, Mode, Policy, Streamer
from sitelog.kube.configmaps import merge_for, stored_configmap
from support.inputs.configurations import PART, STREAMER, plain

ALLOWED, FORBIDDEN = LogStreaming.ALLOWED, LogStreaming.FORBIDDEN
ALLOWING = Policy("fl", "site", generation=3)
FORBIDDING = Policy("fl", "site", generation=4, log_streaming=FORBIDDEN)
STREAMING = json.dumps({"components": [{"id": "s", "path": STREAMER}]})
PLAIN = json.dumps({"components": [{"id": "p", "path": PART}]})
KEY = "config_fed_client.json"


def configmap(text: str = PLAIN, **fields: Any) -> ConfigMap:
    return ConfigMap("fl", "job-1", **{"data": {KEY: text}, **fields})


def stored(before: ConfigMap, outcome: Outcome) -> ConfigMap:
    """Store an outcome as the API server does, and read it back."""
    body = {
        "metadata": {"namespace": before.namespace, "name": before.name, **_metadata(before)},
        "data": dict(before.data),
    }
    merge = merge_for(before, outcome)
    body["data"] |= merge.get("data", {})
    for part in ("labels", "annotations"):
        body["metadata"][part] = body["metadata"][part] | merge.get("metadata", {}).get(part, {})
    return stored_configmap(body)


def _metadata(before: ConfigMap) -> dict[str, Any]:
    return {"labels": dict(before.labels), "annotations": dict(before.annotations)}


def test_without_a_policy_or_a_configuration_nobody_decides() -> None:
    for outcome in (
        decide(configmap(), effective((), {})),
        decide(configmap(data={"x": "y"}), effective((FORBIDDING,), {})),
    ):
        assert (outcome.decision, outcome.reason) == (Decision.UNGOVERNED, Reason.NO_POLICY)
        assert outcome == Outcome(Decision.UNGOVERNED, Reason.NO_POLICY, message=outcome.message)


def test_the_stamp_says_what_was_decided_and_by_whom() -> None:
    outcome = decide(configmap(STREAMING), effective((FORBIDDING,), {}))
    assert outcome.labels == {LABEL_MANAGED: "true", LABEL_DECISION: "Stripped"}
    digests = {outcome.annotations[name] for name in (ANNOTATION_CONFIG_DIGEST, ANNOTATION_RESULT_DIGEST)}
    assert len(digests) == 2
    assert all(digest.startswith("sha256:") for digest in digests)
    assert outcome.annotations.items() >= {
        (ANNOTATION_POLICY, "fl/site"),
        (ANNOTATION_POLICY_GENERATION, "4"),
        (ANNOTATION_LOG_STREAMING, "Forbidden"),
        (ANNOTATION_REASON, "StreamerStripped"),
    }
    assert outcome.message == (
        f"ConfigMap fl/job-1, key {KEY}: its JobLogStreamer was removed (components[0]) "
        "(SiteLogPolicy fl/site: log streaming Forbidden)"
    )


@pytest.mark.parametrize(("text", "policy"), [(STREAMING, FORBIDDING), (PLAIN, ALLOWING), (PLAIN, FORBIDDING)])
def test_a_stamp_stays_while_the_word_stays(text: str, policy: Policy) -> None:
    first = decide(configmap(text), effective((policy,), {}))
    now = stored(configmap(text), first)
    for _ in range(3):
        again = decide(now, effective((policy,), {}))
        assert merge_for(now, again) == {}
        assert (again.decision, again.labels, again.annotations) == (first.decision, first.labels, first.annotations)


def test_a_text_that_somebody_else_wrote_gets_a_stamp_of_its_own() -> None:
    now = stored(configmap(STREAMING), decide(configmap(STREAMING), effective((FORBIDDING,), {})))
    other = decide(replace(now, data={KEY: PLAIN}), effective((FORBIDDING,), {}))
    assert other.decision is Decision.CLEAN


@given(plain(), st.lists(st.sampled_from([ALLOWING, FORBIDDING]), min_size=1, max_size=4))
def test_a_change_of_the_policies_settles_in_one_step(config: dict[str, Any], words: list[Policy]) -> None:
    now = configmap(json.dumps(config))
    for policy in words:
        outcome = decide(now, effective((policy,), {}))
        if outcome.decision is Decision.REFUSED:
            return
        now = stored(now, outcome)
        assert merge_for(now, decide(now, effective((policy,), {}))) == {}


def test_our_own_streamer_gets_the_policys_new_parameters_and_a_jobs_own_does_not() -> None:
    slower = replace(ALLOWING, streamer=Streamer(liveness_interval=20.0))
    now = stored(configmap(), decide(configmap(), effective((ALLOWING,), {})))
    changed = decide(now, effective((slower,), {}))
    assert json.loads(changed.texts[KEY])["components"][-1]["args"]["liveness_interval"] == 20.0
    theirs = replace(now, provenance={})
    assert decide(theirs, effective((slower,), {})).texts == {}


def test_a_streamer_goes_from_every_key_and_comes_to_the_one_that_nvflare_reads() -> None:
    both = configmap(data={KEY: STREAMING, "config_fed_client.conf": STREAMING, "other.json": STREAMING})
    assert set(decide(both, effective((FORBIDDING,), {})).texts) == {KEY, "config_fed_client.conf"}
    both = configmap(data={"config_fed_client.json.default": PLAIN, "config_fed_client.conf": PLAIN})
    assert set(decide(both, effective((ALLOWING,), {})).texts) == {"config_fed_client.conf"}


def test_one_bad_configuration_refuses_the_whole_object() -> None:
    both = configmap(data={KEY: PLAIN, "config_fed_client.yml.default": "a: ["})
    outcome = decide(both, effective((FORBIDDING,), {}))
    assert (outcome.decision, outcome.reason) == (Decision.REFUSED, Reason.NOT_YAML)
    assert "key config_fed_client.yml.default: " in outcome.message
    assert decide(both, effective((ALLOWING,), {})).decision is Decision.INJECTED


def test_the_keys_are_nvflares_and_in_its_order() -> None:
    from nvflare.fuel.utils.config import ConfigFormat  # noqa: PLC0415 - the oracle of this test only

    assert [f"config_fed_client{extension}" for extension in ConfigFormat.config_ext_formats()] == list(CONFIG_KEYS)


def sized(total: int, padding: str) -> ConfigMap:
    """Make a ConfigMap of exactly this size as the API server counts."""
    config = {"components": [], "list": [1] * 100}
    rest = total - len(json.dumps(config, separators=(",", ":"))) - len(KEY) - len("pad")
    text = json.dumps(config, separators=(",", ":"))
    return configmap(data={KEY: text, "pad": padding * (rest // len(padding.encode()))})


@pytest.mark.parametrize("padding", ["x", "ü"])
def test_a_full_configmap_is_written_without_layout(padding: str) -> None:
    outcome = decide(sized(MAX_BYTES - 300, padding), effective((ALLOWING,), {}))
    assert (outcome.decision, "\n" in outcome.texts[KEY]) == (Decision.INJECTED, False)
    roomy = decide(sized(MAX_BYTES - 5000, padding), effective((ALLOWING,), {}))
    assert json.loads(roomy.texts[KEY]) == json.loads(outcome.texts[KEY])
    assert "\n" in roomy.texts[KEY]


def test_what_does_not_fit_passes_where_the_site_allows() -> None:
    outcome = decide(sized(MAX_BYTES - 10, "x"), effective((ALLOWING,), {}))
    assert (outcome.decision, outcome.reason, outcome.texts) == (Decision.UNREADABLE, Reason.TOO_LARGE, {})
    assert outcome.warnings


# --- DryRun --------------------------------------------------------------------------------------------------------
texts = st.one_of(st.sampled_from([STREAMING, PLAIN, "no JSON", "[]"]), plain().map(json.dumps))
policies = st.lists(
    st.builds(
        Policy,
        namespace=st.just("fl"),
        name=st.sampled_from("abcd"),
        log_streaming=st.sampled_from(LogStreaming),
        mode=st.sampled_from(Mode),
        priority=st.integers(-1, 1),
        streamer=st.sampled_from([Streamer(), Streamer(poll_interval=1.0)]),
    ),
    max_size=3,
    unique_by=lambda policy: policy.name,
).map(lambda some: tuple(sorted(some, key=lambda policy: policy.rank)))


@given(texts, policies)
def test_what_dry_run_says_is_what_enforce_then_does(text: str, some: tuple[Policy, ...]) -> None:
    rehearsed = decide(configmap(text), effective(some, {}))
    enforced = decide(configmap(text), effective(tuple(p for p in some if p.mode is Mode.ENFORCE), {}))
    then = decide(configmap(text), effective(tuple(replace(policy, mode=Mode.ENFORCE) for policy in some), {}))
    assert (rehearsed.texts, rehearsed.labels, rehearsed.annotations, rehearsed.decision) == (
        (enforced.texts, enforced.labels, enforced.annotations, enforced.decision)
    ), "DryRun changes nothing"
    extra = rehearsed.warnings[len(enforced.warnings) :]
    if (then.decision, then.texts) == (enforced.decision, enforced.texts):
        assert extra == ()
    else:
        assert then.policy is not None
        said = f"DryRun of SiteLogPolicy {then.policy.key}: would be {then.decision.value}. {then.message}"
        assert extra == (said,)
