"""What the API server is asked to prohibit is what the policies prohibit."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.names import AdmissionPolicy
from sitelog.core.policy.bindings import (
    Binding,
    binding_stem,
    bindings_for,
    namespace_of,
    obsolete,
    policy_name,
    probe_namespace,
    stems_for,
)
from sitelog.core.policy.effective import Policies
from sitelog.core.policy.governed import Governed
from sitelog.core.policy.policy import ErrorLog, LogStreaming, Mode, Policy
from sitelog.core.policy.selector import Requirement, Selector
from support.inputs.policies import HERE, ROOT, labels, many, selectors

PREFIX = f"sitelog-{ROOT}"
LOCKS = {AdmissionPolicy.CONFIGMAPS, AdmissionPolicy.PODS}
governed = st.builds(
    Governed,
    st.just(ROOT),
    st.sampled_from([frozenset[str](), frozenset({HERE}), frozenset({"elsewhere"})]),
    st.sampled_from([frozenset({"kube-system"}), frozenset({HERE})]),
)


def reaches(binding: Binding, namespace: str, mine: dict[str, str]) -> bool:
    """As the API server decides it."""
    return binding.namespaces.matches({binding.namespaces.key: namespace}) and binding.objects.matches(mine)


@given(many, governed, st.sampled_from([HERE, "elsewhere", "other", ROOT, "kube-system"]), labels)
def test_the_api_server_refuses_where_the_policies_prohibit(
    some: list[Policy], where: Governed, namespace: str, mine: dict[str, str]
) -> None:
    enforced = Policies(ROOT, tuple(some)).effective(namespace, mine).enforced
    prohibited = enforced.prohibits_streamer and where.has(namespace)
    bound = [binding for policy in some for binding in bindings_for(policy, where, PREFIX)]
    for lock in LOCKS:
        denying = [each for each in bound if each.bound is lock and each.actions == ("Deny",)]
        assert any(reaches(each, namespace, mine) for each in denying) is prohibited
    provenance = [each for each in bound if each.bound is AdmissionPolicy.PROVENANCE]
    assert any(reaches(each, namespace, mine) for each in provenance) is prohibited


@given(many, governed)
def test_a_dry_run_never_refuses(some: list[Policy], where: Governed) -> None:
    dry_run = [policy for policy in some if policy.mode is Mode.DRY_RUN]
    bound = [binding for policy in dry_run for binding in bindings_for(policy, where, PREFIX)]
    assert all(each.actions == ("Warn", "Audit") and each.bound in LOCKS for each in bound)


@pytest.mark.parametrize(
    ("log_streaming", "mode", "upload", "held"),
    [
        (LogStreaming.ALLOWED, Mode.ENFORCE, True, True),
        (LogStreaming.ERROR_LOG_ONLY, Mode.ENFORCE, True, True),
        (LogStreaming.FORBIDDEN, Mode.ENFORCE, True, False),
        (LogStreaming.ALLOWED, Mode.DRY_RUN, True, False),
        (LogStreaming.ALLOWED, Mode.ENFORCE, False, False),
    ],
)
def test_unseen_job_pods_are_held_where_their_error_log_is_wanted(
    log_streaming: LogStreaming, mode: Mode, *, upload: bool, held: bool
) -> None:
    policy = Policy(HERE, "a", log_streaming=log_streaming, mode=mode, error_log=ErrorLog(upload=upload))
    bound = {each.bound for each in bindings_for(policy, Governed(ROOT), PREFIX)}
    assert (AdmissionPolicy.JOB_PODS in bound) is held


@given(selectors)
def test_an_example_is_found_where_there_is_one(selector: Selector) -> None:
    example = selector.example
    values = [None, "a", "b", "c"]
    some = [{k: v for k, v in zip(("app", "site"), each, strict=True) if v} for each in product(values, values)]
    assert (example is not None) is any(map(selector.matches, some))
    assert example is None or selector.matches(example)


def test_an_example_keeps_away_from_what_is_excluded() -> None:
    exists = Requirement("site", "Exists")
    excluded = Requirement("site", "NotIn", ("x0", "x1"))
    assert Selector(match_expressions=(exists, excluded)).example == {"site": "x2"}
    assert Selector({"site": "x1"}, (excluded,)).example is None


dns = st.text("ab-.", min_size=1, max_size=253)


@given(dns.map(lambda text: text.replace(".", "-")[:63]), dns, dns.map(lambda text: text.replace(".", "-")[:63]), dns)
def test_no_two_policies_share_a_name(namespace: str, name: str, other_namespace: str, other_name: str) -> None:
    lock = policy_name("a" * 104, AdmissionPolicy.CONFIGMAPS)
    mine, theirs = binding_stem(lock, namespace, name), binding_stem(lock, other_namespace, other_name)
    assert (mine == theirs) is ((namespace, name) == (other_namespace, other_name))
    assert len(mine) <= 253 - 9
    assert namespace_of(mine, lock) == namespace


STEMS = stems_for(PREFIX, HERE, "a")
NAME = f"{min(STEMS)}.01234567"


@pytest.mark.parametrize(
    ("case", "goes"),
    [
        ({"readable": [STEMS]}, True),
        ({"readable": [STEMS], "crd_uid": None}, True),
        ({"readable": [STEMS], "wanted": [NAME]}, False),
        ({"unreadable": [STEMS]}, False),
        ({}, True),
        ({"crd_uid": None}, False),
        ({"crd_uid": "another CRD"}, False),
        ({"stored": {NAME: None}}, False),
        ({"stored": {}, "readable": [STEMS]}, False),
    ],
)
def test_a_binding_goes_only_when_its_policy_is_seen_to_be_gone_or_changed(
    case: dict[str, object], *, goes: bool
) -> None:
    given = {"stored": {NAME: "crd"}, "wanted": [], "readable": [], "unreadable": [], "crd_uid": "crd", **case}
    assert obsolete(**given) == ({NAME} if goes else set())  # type: ignore[arg-type]


def test_a_dry_run_asks_where_the_policy_reaches() -> None:
    here, root = Policy(HERE, "a"), Policy(ROOT, "a")
    assert probe_namespace(here, Governed(ROOT), ()) == HERE
    assert probe_namespace(here, Governed(ROOT, excluded=frozenset({HERE})), ()) is None
    assert probe_namespace(root, Governed(ROOT), ()) == "default"
    assert probe_namespace(root, Governed(ROOT, frozenset({HERE})), ()) == HERE
    assert probe_namespace(root, Governed(ROOT, excluded=frozenset({"default"})), (ROOT, HERE)) == HERE
    assert probe_namespace(root, Governed(ROOT, excluded=frozenset({"default"})), (ROOT,)) is None


def test_what_a_binding_says_is_in_its_name() -> None:
    policy = Policy(HERE, "a", log_streaming=LogStreaming.FORBIDDEN)
    changed = [
        policy,
        replace(policy, mode=Mode.DRY_RUN),
        replace(policy, selector=Selector({"a": "b"})),
        replace(policy, selector=Selector({}, (Requirement("a", "Exists"),))),
    ]
    names = [bindings_for(each, Governed(ROOT), PREFIX)[0].name for each in changed]
    assert len(set(names)) == len(names)
    strictly = replace(policy, log_streaming=LogStreaming.ERROR_LOG_ONLY, generation=7, priority=3)
    assert bindings_for(strictly, Governed(ROOT), PREFIX)[0].name == names[0]
