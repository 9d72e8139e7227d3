"""What is in effect: the strictest word wins, and rank gives the parameters."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.policy.effective import EffectivePolicy, Policies
from sitelog.core.policy.policy import ErrorLog, LogStreaming, Mode, Policy
from sitelog.core.policy.selector import Requirement, Selector
from support.inputs.policies import HERE, ROOT, labels, many

ALLOWED, ERROR_LOG_ONLY, FORBIDDEN = LogStreaming


def enforced(some: Sequence[Policy], mine: dict[str, str]) -> EffectivePolicy:
    return Policies(ROOT, tuple(some)).effective(HERE, mine).enforced


@given(many, labels)
def test_the_strictest_word_wins_and_none_is_invented(some: list[Policy], mine: dict[str, str]) -> None:
    reach = [p for p in some if p.namespace in (ROOT, HERE) and p.selector.matches(mine) and p.mode is Mode.ENFORCE]
    log_streaming = enforced(some, mine).log_streaming
    said = {policy.log_streaming for policy in reach}
    assert log_streaming is next((each for each in (FORBIDDEN, ERROR_LOG_ONLY, ALLOWED) if each in said), None)


@given(many, labels, st.randoms())
def test_the_order_in_which_policies_arrive_does_not_matter(some: list[Policy], mine: dict[str, str], rng) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    shuffled = list(some)
    rng.shuffle(shuffled)
    assert enforced(shuffled, mine) == enforced(some, mine)


@given(many, labels)
def test_among_those_of_the_same_word_the_first_in_rank_gives_the_parameters(
    some: list[Policy], mine: dict[str, str]
) -> None:
    found = enforced(some, mine)
    if best := found.governing:
        same = [policy for policy in found.policies if policy.log_streaming is best.log_streaming]
        assert all(best.priority >= policy.priority for policy in same)
        equals = [policy for policy in same if policy.priority == best.priority]
        assert all(best.created <= policy.created for policy in equals)


@given(many, labels)
def test_dry_run_enforces_nothing_and_shows_everything(some: list[Policy], mine: dict[str, str]) -> None:
    effective = Policies(ROOT, tuple(some)).effective(HERE, mine)
    assert all(policy.mode is Mode.ENFORCE for policy in effective.enforced.policies)
    if effective.dry_run:
        as_if = [replace(policy, mode=Mode.ENFORCE) for policy in some]
        assert effective.dry_run.policies != effective.enforced.policies
        assert [policy.key for policy in effective.dry_run.policies] == [p.key for p in enforced(as_if, mine).policies]
    else:
        reach = (p for p in some if p.namespace in (ROOT, HERE) and p.selector.matches(mine))
        assert all(policy.mode is Mode.ENFORCE for policy in reach)


def test_rank_is_priority_then_age_then_name() -> None:
    old, young = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    ranked = [
        Policy(HERE, "z", created=young, priority=5),
        Policy(HERE, "y", created=old),
        Policy(HERE, "a", created=young),
        Policy(HERE, "b", created=young),
        Policy(HERE, "c", created=old, priority=-1),
    ]
    assert list(enforced(tuple(reversed(ranked)), {}).policies) == ranked


@pytest.mark.parametrize(
    ("selector", "matching", "other"),
    [
        (Selector(), {}, None),
        (Selector({"app": "a"}), {"app": "a", "x": "y"}, {"app": "b"}),
        (Selector({"app": "a"}), {"app": "a"}, {}),
        (Selector({}, (Requirement("app", "In", ("a", "b")),)), {"app": "b"}, {"app": "c"}),
        (Selector({}, (Requirement("app", "In", ("a",)),)), {"app": "a"}, {}),
        (Selector({}, (Requirement("app", "NotIn", ("a",)),)), {}, {"app": "a"}),
        (Selector({}, (Requirement("app", "Exists"),)), {"app": ""}, {}),
        (Selector({}, (Requirement("app", "DoesNotExist"),)), {"x": "y"}, {"app": ""}),
        (Selector({"x": "y"}, (Requirement("app", "Exists"),)), {"app": "", "x": "y"}, {"app": ""}),
    ],
)
def test_selectors_match_as_in_kubernetes(
    selector: Selector, matching: dict[str, str], other: dict[str, str] | None
) -> None:
    assert selector.matches(matching)
    assert other is None or not selector.matches(other)


def test_an_operator_of_another_name_matches_nothing() -> None:
    assert not Requirement("app", "Like", ("a",)).matches({"app": "a"})


def test_error_log_and_clients_come_from_all_policies_in_force() -> None:
    found = EffectivePolicy(
        (
            Policy(HERE, "a", client_name="site-1"),
            Policy(HERE, "b", client_name="site-1", error_log=ErrorLog(upload=True)),
            Policy(HERE, "c", client_name="site-2", error_log=ErrorLog()),
        )
    )
    assert found.client_names == ("site-1", "site-2")
    assert found.error_log == ErrorLog(upload=True)
    assert (EffectivePolicy().error_log, EffectivePolicy().client_names, EffectivePolicy().governing) == (
        None,
        (),
        None,
    )


UPLOAD, KEEP = ErrorLog(upload=True), ErrorLog()


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([Policy(HERE, "lax", priority=9, error_log=UPLOAD)], UPLOAD),
        ([Policy(HERE, "lax", priority=9, error_log=UPLOAD), Policy(HERE, "says", error_log=KEEP)], UPLOAD),
        (
            [
                Policy(HERE, "lax", priority=9, error_log=UPLOAD),
                Policy(HERE, "keeps", log_streaming=ERROR_LOG_ONLY, priority=-9, error_log=KEEP),
            ],
            KEEP,
        ),
        (
            [
                Policy(HERE, "keeps", log_streaming=ERROR_LOG_ONLY, priority=1, error_log=KEEP),
                Policy(HERE, "sends", log_streaming=ERROR_LOG_ONLY, priority=2, error_log=UPLOAD),
            ],
            UPLOAD,
        ),
        ([], None),
    ],
    ids=["a laxer one says it", "the first of two", "a stricter one is asked first", "the higher priority", "nobody"],
)
def test_the_strictest_that_speaks_of_error_logs_says_what_becomes_of_them(
    others: list[Policy], expected: ErrorLog | None
) -> None:
    silent = Policy(ROOT, "silent", log_streaming=ERROR_LOG_ONLY, priority=5)
    found = enforced([*others, silent], {})
    assert found.log_streaming is ERROR_LOG_ONLY
    assert found.error_log == expected


def test_each_word_is_stricter_than_the_one_before() -> None:
    found = [
        (log_streaming.prohibits_streamer, log_streaming.allows_error_log, log_streaming.strictness)
        for log_streaming in LogStreaming
    ]
    assert found == [(False, True, 0), (True, True, 1), (True, False, 2)]
