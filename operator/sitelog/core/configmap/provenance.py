"""Provenance: labels and annotations that say how a job's configuration came to be what it is."""

import hashlib
from collections.abc import Mapping
from typing import Final

from sitelog.core.jobconfig.verdict import Verdict
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
)
from sitelog.core.policy.policy import LogStreaming, Policy

from .configmap import ConfigMap

# What provenance may go on saying while the policy says the same, although the text now needs nothing.
_LASTING: Final = {
    LogStreaming.ALLOWED: (Decision.INJECTED, Decision.DECLARED),
    LogStreaming.ERROR_LOG_ONLY: (Decision.STRIPPED, Decision.CLEAN),
    LogStreaming.FORBIDDEN: (Decision.STRIPPED, Decision.CLEAN),
}


def provenance(
    configmap: ConfigMap, texts: Mapping[str, str], verdict: Verdict, policy: Policy
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the labels and annotations that say what was decided; `texts` are the new ones, by key."""
    before = configmap.configurations
    decision, reason, digest = verdict.decision.value, verdict.reason.value, _digest(before)
    result = _digest({key: texts[key].encode() if key in texts else raw for key, raw in before.items()})
    earlier = configmap.provenance
    if not texts and earlier.get(ANNOTATION_RESULT_DIGEST) == result:
        # The text stands as an earlier decision left it: provenance goes on saying how it came about.
        lasting = earlier.get(LABEL_DECISION)
        if verdict.decision in _LASTING[policy.log_streaming] and lasting in _LASTING[policy.log_streaming]:
            decision = str(lasting)
            reason = earlier.get(ANNOTATION_REASON, reason)
            digest = earlier.get(ANNOTATION_CONFIG_DIGEST, digest)
    return (
        {LABEL_MANAGED: "true", LABEL_DECISION: decision},
        {
            ANNOTATION_POLICY: policy.key,
            ANNOTATION_POLICY_GENERATION: str(policy.generation),
            ANNOTATION_LOG_STREAMING: policy.log_streaming.value,
            ANNOTATION_REASON: reason,
            ANNOTATION_CONFIG_DIGEST: digest,
            ANNOTATION_RESULT_DIGEST: result,
        },
    )


def _digest(configurations: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for key, raw in configurations.items():
        digest.update(f"{key}\0{len(raw)}\0".encode() + raw)
    return f"sha256:{digest.hexdigest()}"
