"""The decision about any ConfigMap: one with a job's configuration, one with a site's resources, or neither."""

from collections.abc import Iterable

from sitelog.core.jobconfig.budget import Budget
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.effective import Effective, EffectivePolicy

from .configmap import CONFIG_KEYS, ConfigMap
from .job_configuration import decide_job_configuration
from .outcome import Outcome, with_dry_run
from .site_resources import decide_site_resources, is_site_resources_key


def may_concern(keys: Iterable[str]) -> bool:
    """Whether a ConfigMap with these keys has to be decided about."""
    return any(key in CONFIG_KEYS or is_site_resources_key(key) for key in keys)


def decided_contents(configmap: ConfigMap) -> dict[str, bytes]:
    """Return what of a ConfigMap is decided about, by key: its job configurations, or else a site's resources."""
    return configmap.configurations or {
        key: configmap.content(key) for key in configmap.keys if is_site_resources_key(key)
    }


def decide(configmap: ConfigMap, effective: Effective, budget: Budget | None = None) -> Outcome:
    """Decide about a ConfigMap under what is in effect for it.

    Parameters
    ----------
    configmap : the object.
    effective : what the policies say about it.
    budget : the work that this may be. What is more than the final one is refused where a site forbids, and left alone
        where it allows.

    Raises
    ------
    OverBudgetError
        It is more work than a budget that is not final.
    """
    budget = budget or Budget(final=True)
    outcome = _decide(configmap, effective.enforced, budget)
    return with_dry_run(outcome, _decide(configmap, effective.dry_run, budget)) if effective.dry_run else outcome


def _decide(configmap: ConfigMap, effective: EffectivePolicy, budget: Budget) -> Outcome:
    policy = effective.governing
    if policy is None:
        return Outcome(Decision.UNGOVERNED, Reason.NO_POLICY, message=f"{configmap}: no policy governs it")
    if configmap.configurations:
        return decide_job_configuration(configmap, policy, budget)
    outcome = decide_site_resources(configmap, policy, budget)
    return outcome or Outcome(Decision.UNGOVERNED, Reason.NO_POLICY, message=f"{configmap}: there is nothing to decide")
