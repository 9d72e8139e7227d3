"""The answer to an admission review."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sitelog.core.names import Reason


@dataclass(frozen=True)
class Review:
    """What the API server is told.

    Attributes
    ----------
    subject : the object, as messages name it.
    decision, reason : the codes, for metrics and logs.
    policy : the policy that decided, `namespace/name`, or empty.
    merge : the changes, as a merge patch.
    warnings : for the person who sent the object.
    refusal : why the object is not let in; None if it is.
    """

    subject: str
    decision: str
    reason: str
    policy: str = ""
    merge: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    refusal: str | None = None


def with_dry_run(review: Review, dry_run: Review) -> Review:
    """Add what would happen if the policies in mode DryRun were enforced, where that differs."""
    if (review.merge, review.refusal) == (dry_run.merge, dry_run.refusal):
        return review
    would = dry_run.refusal or f"{dry_run.subject} would be changed ({dry_run.reason})"
    warning = f"DryRun of SiteLogPolicy {dry_run.policy}: {would}"
    reason = Reason.DRY_RUN.value if not review.policy else review.reason
    return replace(review, reason=reason, warnings=(*review.warnings, warning))
