"""Which namespaces are governed, for each way in which Sitelog is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.policy.governed import EVERYWHERE, Governed
from sitelog.core.policy.policy import Policy

ALL = Governed("root", excluded=frozenset({"kube-system"}))
LISTED = Governed("root", frozenset({"b", "a"}), frozenset({"kube-system"}))

NAMES = st.sampled_from(["root", "kube-system", "a", "b", "c"])
GOVERNED = st.builds(Governed, st.just("root"), st.frozensets(NAMES), st.frozensets(NAMES))


@pytest.mark.parametrize(
    ("governed", "yes", "no"), [(ALL, ["a", "c"], ["root", "kube-system"]), (LISTED, ["a", "b"], ["root", "c"])]
)
def test_which_are(governed: Governed, yes: list[str], no: list[str]) -> None:
    assert all(map(governed.has, yes))
    assert not any(map(governed.has, no))


def test_where_is_looked() -> None:
    assert ALL.objects == ALL.policies == EVERYWHERE
    assert LISTED.objects == ("a", "b")
    assert LISTED.policies == ("a", "b", "root")


def test_a_list_of_excluded_ones_alone_is_nothing_and_not_everything() -> None:
    nothing = Governed("root", frozenset({"kube-system", "root"}), frozenset({"kube-system"}))
    assert nothing.objects == ()
    assert nothing.policies == ("root",)
    assert nothing.reach("root") is None


def test_a_policy_elsewhere_concerns_nobody() -> None:
    assert ALL.reached_by([Policy("c", "site"), Policy("a", "site")]) == ("a", "c")
    assert ALL.reached_by([Policy("c", "site"), Policy("root", "all")]) == EVERYWHERE
    assert LISTED.reached_by([Policy("c", "site"), Policy("a", "site")]) == ("a",)
    assert LISTED.reached_by([Policy("c", "site"), Policy("root", "all")]) == ("a", "b")
    assert LISTED.reached_by([]) == ()


@given(governed=GOVERNED, policy=NAMES, namespace=NAMES)
def test_the_selector_selects_those_that_are_governed_and_no_other(
    governed: Governed, policy: str, namespace: str
) -> None:
    requirement = governed.reach(policy)
    selected = requirement is not None and requirement.matches({"kubernetes.io/metadata.name": namespace})
    assert selected == (governed.has(namespace) and policy in (namespace, governed.root))
    assert requirement is None or requirement.values  # the API server takes none without
