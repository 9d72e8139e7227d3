"""What becomes of a ConfigMap."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sitelog.core.names import Decision, Reason
from sitelog.core.policy.policy import Policy


@dataclass(frozen=True)
class Outcome:
    """What becomes of a ConfigMap.

    Attributes
    ----------
    decision, reason : the codes, as provenance, metrics and logs have them.
    policy : the policy that decided, or None where nobody governs the object.
    message : a sentence for a person: the object, the key, the policy, the next step.
    texts : the new text of each configuration that changes, by key.
    labels, annotations : its provenance; empty where nobody governs the object.
    warnings : what the person who sent the object should see.
    dry_run : what would become of it if the policies in mode DryRun were enforced, where that differs.
    """

    decision: Decision
    reason: Reason
    policy: Policy | None = None
    message: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    dry_run: "Outcome | None" = None


def with_dry_run(outcome: Outcome, dry_run: Outcome) -> Outcome:
    """Add what would happen if the policies in mode DryRun were enforced, where that differs."""
    same = (outcome.decision, outcome.texts) == (dry_run.decision, dry_run.texts)
    if same or dry_run.policy is None:
        return outcome
    warning = f"DryRun of SiteLogPolicy {dry_run.policy.key}: would be {dry_run.decision.value}. {dry_run.message}"
    return replace(
        outcome,
        reason=Reason.DRY_RUN if outcome.policy is None else outcome.reason,
        warnings=(*outcome.warnings, warning),
        dry_run=dry_run,
    )
