"""Deny wins: no combination of policies lets an allowing one weaken a prohibition."""

import json
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.decide import decide
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import FORBIDDING_ARGUMENT, WORKER_MODULE
from sitelog.core.policy.effective import Policies
from sitelog.core.policy.policy import LogStreaming, Mode, Policy
from sitelog.webhook.job_pod_review import review_pod
from sitelog.webhook.review import Review
from support.inputs.policies import HERE, ROOT, labels, many, selectors

STREAMER = {"id": "mine", "path": "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"}
RESOURCES = {"format_version": 2, "client": {}, "components": []}

prohibitions = st.builds(
    Policy,
    namespace=st.sampled_from([ROOT, HERE]),
    name=st.just("forbids"),
    log_streaming=st.sampled_from([LogStreaming.ERROR_LOG_ONLY, LogStreaming.FORBIDDEN]),
    priority=st.integers(-3, 3),
    selector=selectors,
)
configs = st.sampled_from(
    [
        {"config_fed_client.json": json.dumps({"components": [STREAMER]})},
        {"config_fed_client.json": json.dumps({"components": []})},
        {"config_fed_client.json": json.dumps({"executors": [{"executor": STREAMER}]})},
        {"config_fed_client.json": "{"},
        {"config_fed_client.conf": "components = []"},
        {"resources.json": json.dumps(RESOURCES)},
        {"resources.json": json.dumps({**RESOURCES, "allow_log_streaming": True})},
    ]
)
argvs = st.sampled_from(
    [
        ["python3", "-m", WORKER_MODULE, "-n", "job", "-c", "site-1", "--set", "a=b"],
        ["python3", "-m", WORKER_MODULE, "-n", "job", "-c", "site-1"],
        ["python3", "-m", WORKER_MODULE, "--set", "allow_log_streaming=true"],
        ["sh", "-c", f"python3 -m {WORKER_MODULE} -n job"],
    ]
)


def enforced_prohibition(some: list[Policy], mine: dict[str, str]) -> bool:
    """By the words of the documentation, not by the code under test."""
    return any(
        policy.log_streaming is not LogStreaming.ALLOWED
        and policy.mode is Mode.ENFORCE
        and policy.namespace in (ROOT, HERE)
        and policy.selector.matches(mine)
        for policy in some
    )


def without_allowing(some: list[Policy]) -> list[Policy]:
    return [policy for policy in some if policy.log_streaming is not LogStreaming.ALLOWED]


def outcome(data: dict[str, str], some: list[Policy], mine: dict[str, str]) -> Outcome:
    configmap = ConfigMap(HERE, "any", labels=mine, data=data)
    return decide(configmap, Policies(ROOT, tuple(some)).effective(HERE, mine))


def review(argv: list[str], some: list[Policy], mine: dict[str, str]) -> Review:
    body = {
        "metadata": {"namespace": HERE, "name": "job", "labels": mine},
        "spec": {"containers": [{"name": "job", "command": argv}]},
    }
    return review_pod(body, Policies(ROOT, tuple(some)))


@given(prohibitions, many, labels, configs, argvs)
def test_allowing_policies_add_nothing_to_a_prohibition(
    prohibition: Policy, others: list[Policy], mine: dict[str, str], data: dict[str, str], argv: list[str]
) -> None:
    some = [prohibition, *others]
    assume(enforced_prohibition(some, mine))
    deny = without_allowing(some)

    mixed, alone = outcome(data, some, mine), outcome(data, deny, mine)
    assert (mixed.decision, mixed.reason, mixed.texts, mixed.policy) == (
        alone.decision,
        alone.reason,
        alone.texts,
        alone.policy,
    )
    assert (mixed.labels, mixed.annotations, mixed.message) == (alone.labels, alone.annotations, alone.message)
    assert mixed.dry_run is None or mixed.dry_run.policy in deny

    pod, only = review(argv, some, mine), review(argv, deny, mine)
    assert (pod.merge, pod.refusal, pod.decision, pod.policy) == (only.merge, only.refusal, only.decision, only.policy)
    if pod.refusal is None:
        assert pod.merge["spec"]["containers"][0]["command"][-1] == FORBIDDING_ARGUMENT


@given(many, labels, argvs)
def test_the_word_is_given_under_a_prohibition_and_never_else(
    some: list[Policy], mine: dict[str, str], argv: list[str]
) -> None:
    found = review(argv, some, mine)
    assert ("spec" in found.merge or found.refusal is not None) is enforced_prohibition(some, mine)
    assert json.dumps(found.merge).count("allow_log_streaming=true") <= argv.count("allow_log_streaming=true")


@given(many, labels, configs, argvs)
def test_dry_runs_change_nothing_and_tell_what_they_would(
    some: list[Policy], mine: dict[str, str], data: dict[str, str], argv: list[str]
) -> None:
    enforced = [policy for policy in some if policy.mode is Mode.ENFORCE]
    all_enforced = [replace(policy, mode=Mode.ENFORCE) for policy in some]

    told, now, then = (outcome(data, set_of, mine) for set_of in (some, enforced, all_enforced))
    assert (told.decision, told.texts, told.labels) == (now.decision, now.texts, now.labels)
    if told.dry_run:
        assert (told.dry_run.decision, told.dry_run.texts) == (then.decision, then.texts)
        assert f"would be {then.decision.value}. {then.message}" in told.warnings[-1]
    else:
        assert (told.decision, told.texts) == (then.decision, then.texts)

    pod, pod_now, pod_then = (review(argv, set_of, mine) for set_of in (some, enforced, all_enforced))
    assert (pod.merge, pod.refusal) == (pod_now.merge, pod_now.refusal)
    differs = (pod_now.merge, pod_now.refusal) != (pod_then.merge, pod_then.refusal)
    assert any("DryRun of SiteLogPolicy" in warning for warning in pod.warnings) is differs
    if differs and pod_then.refusal:
        assert pod.warnings[-1] == f"DryRun of SiteLogPolicy {pod_then.policy}: {pod_then.refusal}"
