"""kopf's handlers: each hands what it sees to whoever knows what to do."""

from typing import Any, Final

import kopf

from sitelog.controller.errorlogs.reconciler import ErrorLogReconciler
from sitelog.core.names import LABEL_JOB, LABEL_UPLOAD

from .loop import ReconcileLoop

# kopf watches these with a selector on the server, so that other pods and Jobs cost nothing.
SELECTORS: Final = {("", "v1", "pods"): LABEL_JOB, ("batch", "v1", "jobs"): LABEL_UPLOAD}


def register(registry: kopf.OperatorRegistry, error_logs: ErrorLogReconciler, loop: ReconcileLoop) -> None:
    """Register the handlers. What one of them misses, the loop finds."""

    @kopf.on.event("", "v1", "pods", labels={LABEL_JOB: kopf.PRESENT}, registry=registry)
    async def pod(event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
        await error_logs.reconcile_pod(body, deleted=event["type"] == "DELETED")
        loop.trigger()

    @kopf.on.event("batch", "v1", "jobs", labels={LABEL_UPLOAD: kopf.PRESENT}, registry=registry)
    async def job(**_: Any) -> None:
        loop.trigger()
