"""Existing ConfigMaps, brought into line when a policy changes, soon after, at start, and every ten minutes.

The same decision as at admission. What cannot be changed any more is stamped, and said in an Event. The second look
finds what a webhook's pod let in before it heard of the change.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sitelog.core.configmap import CONFIG_KEYS, decide_configmap
from sitelog.core.names import LABEL_PUBLISHED_BY, Decision
from sitelog.core.policy import Policy, applicable
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.configmaps import merge_for, stored_configmap
from sitelog.kube.events import Subject, record_event
from sitelog.kube.policies import PolicyBook
from sitelog.telemetry.logs import fields
from sitelog.telemetry.metrics import DECISIONS

from .capture import seconds_since

_PAGE: Final = 50  # ConfigMaps in memory at a time: each may be a MiB
_SOON: Final = 15.0  # seconds after a change of the policies, by when the webhook's pods have long heard of it
_AGAIN: Final = 600.0  # seconds after which everything is looked at, although no policy has changed

log = logging.getLogger(__name__)


class Alignment:
    """Keeps stored ConfigMaps as the policies want them."""

    def __init__(self, client: KubeClient, book: PolicyBook, *, root_namespace: str, retention: float) -> None:
        self._client = client
        self._book = book
        self._root_namespace = root_namespace
        self._retention = retention
        self._aligned: tuple[Policy, ...] | None = None
        self._due = 0.0

    async def look(self) -> None:
        """Bring everything into line, if a policy has changed or it is time."""
        policies = tuple(sorted(self._book.policies, key=lambda policy: policy.key))
        changed = policies != self._aligned
        if not changed and time.monotonic() < self._due:
            return
        failed = 0
        for namespace in self._namespaces(policies):
            async for page in self._client.pages(path("v1", "configmaps", namespace), size=_PAGE):
                for body in page:
                    failed += not await self._aligned_now(body, policies)
        if not failed:
            self._aligned = policies
            self._due = time.monotonic() + (_SOON if changed else _AGAIN)

    async def remove_expired(self) -> None:
        """Delete what the gate published and nobody needs any more."""
        resource = path("v1", "configmaps")
        for body in await self._client.list_all(
            resource, metadata_only=True, labelSelector=f"{LABEL_PUBLISHED_BY}=gate"
        ):
            metadata = body["metadata"]
            if seconds_since(metadata["creationTimestamp"]) < self._retention:
                continue
            try:
                target = path("v1", "configmaps", metadata["namespace"], metadata["name"])
                await self._client.delete(target, uid=metadata["uid"])
            except (NotFoundError, ConflictError):
                continue
            log.info("ConfigMap %s/%s: removed, it was published long ago", metadata["namespace"], metadata["name"])

    def _namespaces(self, policies: Sequence[Policy]) -> list[str]:
        """Return the namespaces concerned; the empty one stands for all, where a policy of the root speaks."""
        namespaces = {policy.namespace for policy in policies}
        return [""] if self._root_namespace in namespaces else sorted(namespaces)

    async def _aligned_now(self, body: Mapping[str, Any], policies: Sequence[Policy]) -> bool:
        """Bring one into line; False if that has to be tried again, which must not keep the others waiting."""
        try:
            await self._align(body, policies)
        except ApiError as error:
            log.warning("ConfigMap %s/%s: %s", body["metadata"]["namespace"], body["metadata"]["name"], error)
            return False
        return True

    async def _align(self, body: Mapping[str, Any], policies: Sequence[Policy]) -> None:
        held = (*(body.get("data") or {}), *(body.get("binaryData") or {}))
        if not any(key in CONFIG_KEYS for key in held) or body["metadata"]["namespace"] == "kube-system":
            return
        configmap = stored_configmap(body)
        concerned = applicable(
            policies, root_namespace=self._root_namespace, namespace=configmap.namespace, labels=configmap.labels
        )
        outcome = decide_configmap(configmap, concerned)
        merge = merge_for(configmap, outcome)
        if not merge:
            return
        metadata = {**merge.get("metadata", {}), "resourceVersion": body["metadata"]["resourceVersion"]}
        try:
            target = path("v1", "configmaps", configmap.namespace, configmap.name)
            await self._client.patch(target, {**merge, "metadata": metadata})
        except NotFoundError:
            return
        policy = outcome.policy.key if outcome.policy else None
        DECISIONS.labels("ConfigMap", outcome.decision.value, outcome.reason.value).inc()
        extra = fields(decision=outcome.decision.value, reason=outcome.reason.value, policy=policy)
        log.info("%s: brought into line: %s", configmap, outcome.decision.value, extra=extra)
        subject = Subject("ConfigMap", configmap.namespace, configmap.name, body["metadata"]["uid"])
        warning = outcome.decision is Decision.REFUSED
        await record_event(self._client, subject, outcome.reason, outcome.message, warning=warning)
