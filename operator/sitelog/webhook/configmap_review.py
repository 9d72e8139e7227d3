"""The answer to the review of a ConfigMap."""

from collections.abc import Mapping
from typing import Any

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import LABEL_DECISION, Decision, Reason
from sitelog.kube.configmaps import merge_for, parse_configmap

from .review import Review


def configmap_review(configmap: ConfigMap, old: Mapping[str, Any] | None, outcome: Outcome) -> Review:
    """Say what was decided about a ConfigMap."""
    policy = outcome.policy.key if outcome.policy else ""
    refused = outcome.decision is Decision.REFUSED and not _stored_as_it_is(configmap, old, outcome.reason)
    return Review(
        subject=str(configmap),
        decision=outcome.decision.value,
        reason=outcome.reason.value,
        policy=policy,
        merge={} if refused else merge_for(configmap, outcome),
        warnings=(outcome.message,) if outcome.decision is Decision.REFUSED else outcome.warnings,
        refusal=outcome.message if refused else None,
    )


def _stored_as_it_is(configmap: ConfigMap, old: Mapping[str, Any] | None, reason: Reason) -> bool:
    """Whether a refusal would keep nothing out: the same configuration is stored, and marked as refused.

    The mark is the controller's. To refuse its bearer's changes would only keep it from being written, or a finalizer
    from being removed. Without the mark it is somebody who brings the configuration anew.
    """
    if old is None:
        return False
    marked = configmap.labels.get(LABEL_DECISION) == Decision.REFUSED
    return reason is Reason.IMMUTABLE or (marked and parse_configmap(old).configurations == configmap.configurations)
