"""The decision about any ConfigMap: one with a job's configuration, one with a site's resources, or neither."""

from collections.abc import Iterable, Sequence

from .configmap import CONFIG_KEYS, ConfigMap, Outcome, decide_configmap, with_rehearsal
from .jobconfig.budget import Budget
from .names import Decision, Reason
from .policy import InForce, Policy, if_enforced, in_force
from .site_resources import decide_site_resources, is_site_resources_key


def may_concern(keys: Iterable[str]) -> bool:
    """Whether a ConfigMap with these keys has to be looked at."""
    return any(key in CONFIG_KEYS or is_site_resources_key(key) for key in keys)


def decided_contents(configmap: ConfigMap) -> dict[str, bytes]:
    """Return what of a ConfigMap is decided about, by key: its job configurations, or else a site's resources."""
    return configmap.configurations or {
        key: configmap.content(key) for key in configmap.keys if is_site_resources_key(key)
    }


def decide_any(configmap: ConfigMap, concerned: Sequence[Policy], budget: Budget | None = None) -> Outcome:
    """Decide about a ConfigMap under the policies that concern it (`policy.applicable`).

    Parameters
    ----------
    configmap : the object.
    concerned : the policies, of either mode, in rank order.
    budget : the work that this may be. What is more than the final one is refused where a site forbids, and left alone
        where it allows.

    Raises
    ------
    OverBudgetError
        It is more work than a budget that is not final.
    """
    budget = budget or Budget(final=True)
    if configmap.configurations:
        return decide_configmap(configmap, concerned, budget)
    force, rehearsed = in_force(concerned), if_enforced(concerned)
    outcome = _of_site(configmap, force, budget)
    return outcome if rehearsed == force else with_rehearsal(outcome, _of_site(configmap, rehearsed, budget))


def _of_site(configmap: ConfigMap, force: InForce, budget: Budget) -> Outcome:
    outcome = decide_site_resources(configmap, force, budget)
    return outcome or Outcome(Decision.UNGOVERNED, Reason.NO_POLICY, message=f"{configmap}: there is nothing to decide")
