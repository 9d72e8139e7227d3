"""kopf's handlers: each parses, asks for the review of its kind, and tells the API server."""

import logging
from collections.abc import Mapping
from typing import Any

import kopf

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import HANDLER_CONFIGMAPS, HANDLER_PODS
from sitelog.core.policy.effective import Effective
from sitelog.decider.door import Decider, undecided
from sitelog.decider.process import NoAnswerError
from sitelog.kube.configmaps import parse_configmap
from sitelog.kube.policy_store import PolicyStore
from sitelog.telemetry.logs import fields
from sitelog.telemetry.metrics import DECISIONS

from .client_pod_review import review_client_pod
from .configmap_review import configmap_review
from .job_pod_review import review_pod
from .large_reviews import FOUND
from .review import Review

log = logging.getLogger(__name__)


def register(registry: kopf.OperatorRegistry, decider: Decider, store: PolicyStore, gate_image: str) -> None:
    """Register the admission handlers. Their ids are the paths that the chart's webhook configuration names."""

    @kopf.on.mutate(  # type: ignore[arg-type] # kopf's protocol wants every keyword spelt out
        "", "v1", "configmaps", id=HANDLER_CONFIGMAPS, operations=["CREATE", "UPDATE"], registry=registry
    )
    async def configmaps(
        body: kopf.Body, old: kopf.Body | None, patch: kopf.Patch, warnings: list[str], **_: Any
    ) -> None:
        review = FOUND.get()
        if review is None:
            configmap = parse_configmap(body, stored=old)
            effective = store.effective(configmap.namespace, configmap.labels)
            review = configmap_review(configmap, old, await _decide(decider, configmap, effective))
        _answer("ConfigMap", review, patch, warnings)

    @kopf.on.mutate("", "v1", "pods", id=HANDLER_PODS, operations=["CREATE"], registry=registry)
    async def pods(body: kopf.Body, patch: kopf.Patch, warnings: list[str], **_: Any) -> None:
        asked = (body, store.policies)
        review = FOUND.get() or review_client_pod(*asked, gate_image) or review_pod(*asked)
        _answer("Pod", review, patch, warnings)


async def _decide(decider: Decider, configmap: ConfigMap, effective: Effective) -> Outcome:
    try:
        return await decider.decide(configmap, effective)
    except NoAnswerError as error:
        log.warning("%s: no decision: %s", configmap, error)
        return undecided(configmap, effective)


def _answer(kind: str, review: Review, patch: Any, warnings: list[str]) -> None:
    DECISIONS.labels(kind, review.decision, review.reason).inc()
    log.log(
        logging.WARNING if review.refusal or review.warnings else logging.INFO,
        "%s: %s",
        review.subject,
        review.refusal or "; ".join(review.warnings) or review.decision,
        extra=fields(decision=review.decision, reason=review.reason, policy=review.policy or None),
    )
    if review.refusal:
        raise kopf.AdmissionError(review.refusal, code=403)
    warnings.extend(review.warnings)
    patch.update(_deep(review.merge))


def _deep(merge: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _deep(value) if isinstance(value, Mapping) else value for key, value in merge.items()}
