"""kopf's handlers: each parses, asks `reviews`, and tells the API server."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import kopf

from sitelog.core.jobconfig.formats import Format, format_of
from sitelog.core.names import HANDLER_CONFIGMAPS, HANDLER_PODS
from sitelog.kube.policies import PolicyBook
from sitelog.telemetry.logs import fields
from sitelog.telemetry.metrics import DECISIONS, REVIEW_SECONDS

from .gate_review import review_client_pod
from .reviews import Review, review_configmap, review_pod

_QUICK: Final = 32 * 1024  # characters of JSON, about which a decision takes a few milliseconds
# Others are decided about in turn, beside the loop that answers reviews. One thread: pyhocon is not made for two.
_ASIDE: Final = ThreadPoolExecutor(1, thread_name_prefix="decision")

log = logging.getLogger(__name__)


def register(registry: kopf.OperatorRegistry, book: PolicyBook, root_namespace: str, gate_image: str) -> None:
    """Register the admission handlers. Their ids are the paths that the chart's webhook configuration names."""

    @kopf.on.mutate(  # type: ignore[arg-type] # kopf's protocol wants every keyword spelt out
        "", "v1", "configmaps", id=HANDLER_CONFIGMAPS, operations=["CREATE", "UPDATE"], registry=registry
    )
    async def configmaps(
        body: kopf.Body, old: kopf.Body | None, patch: kopf.Patch, warnings: list[str], **_: Any
    ) -> None:
        with REVIEW_SECONDS.labels(HANDLER_CONFIGMAPS).time():
            asked = (body, old, book.policies, root_namespace)
            if _is_quick(body) and (old is None or _is_quick(old)):
                review = review_configmap(*asked)
            else:
                review = await asyncio.get_running_loop().run_in_executor(_ASIDE, review_configmap, *asked)
            _answer("ConfigMap", review, patch, warnings)

    @kopf.on.mutate("", "v1", "pods", id=HANDLER_PODS, operations=["CREATE"], registry=registry)
    async def pods(body: kopf.Body, patch: kopf.Patch, warnings: list[str], **_: Any) -> None:
        with REVIEW_SECONDS.labels(HANDLER_PODS).time():
            asked = (body, book.policies, root_namespace)
            _answer("Pod", review_client_pod(*asked, gate_image) or review_pod(*asked), patch, warnings)


def _is_quick(body: Mapping[str, Any]) -> bool:
    held = {**(body.get("data") or {}), **(body.get("binaryData") or {})}
    all_json = all(format_of(key) is Format.JSON for key in held)
    return all_json and sum(len(content) for content in held.values()) <= _QUICK


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
