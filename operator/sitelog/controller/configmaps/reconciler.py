"""Existing ConfigMaps, brought into line when a policy changes, soon after, at start, and every ten minutes.

The same decision as at admission. What cannot be changed any more carries provenance, and is said in an Event. The
second round finds what a webhook's pod let in before it heard of the change. Of several controllers each begins with
its share, and then does what is left of the others'.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.decide import may_concern
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import LABEL_PUBLISHED_BY, Decision, Reason
from sitelog.core.policy.effective import Policies
from sitelog.decider.door import Decider
from sitelog.decider.process import NoAnswerError
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.configmaps import merge_for, stored_configmap
from sitelog.kube.events import Subject, record_event
from sitelog.kube.lists import pages
from sitelog.kube.peers import WHOLE, Share, share
from sitelog.kube.policy_store import PolicyStore
from sitelog.kube.times import seconds_since
from sitelog.telemetry.logs import fields
from sitelog.telemetry.metrics import DECISIONS

_CONFIGMAPS: Final = ("v1", "configmaps")
_PAGE: Final = 50  # ConfigMaps in memory at a time: each may be a MiB
_TOGETHER: Final = 16  # of them worked on at a time: most of it is waiting for the API server
_SETTLED_SECONDS: Final = 15.0  # after a change of the policies, by when the webhook's pods have long heard of it
_RECHECK_SECONDS: Final = 600.0  # after which everything is reconciled, although no policy has changed

T = TypeVar("T")

log = logging.getLogger(__name__)


class ConfigMapReconciler:
    """Keeps stored ConfigMaps as the policies want them.

    Attributes
    ----------
    would_be : at the last round, how many ConfigMaps would be what, by the policy in mode DryRun.
    """

    def __init__(
        self,
        client: KubeClient,
        store: PolicyStore,
        decider: Decider,
        *,
        retention: float,
        pod: str = "",
    ) -> None:
        self._client = client
        self._store = store
        self._decider = decider
        self._retention = retention
        self._pod = pod
        self._aligned: Policies | None = None
        self._seen: Policies | None = None
        self._due = 0.0
        self.would_be: Mapping[str, Counter[str]] = {}

    async def reconcile(self) -> None:
        """Bring everything into line, if a policy has changed or it is time."""
        self._seen = policies = self._store.policies
        changed = policies != self._aligned
        if not changed and time.monotonic() < self._due:
            return
        own = await share(self._client, self._store.governed.root, self._pod)
        rounds = [_Round(policies, of) for of in dict.fromkeys((own, WHOLE))]
        try:
            for round_ in rounds:
                namespaces = self._store.governed.reached_by(policies)
                async for page in pages(self._client, namespaces, _CONFIGMAPS, round_.unread, size=_PAGE):
                    await round_.together(page, self._align)
        finally:
            # Only now: no configuration waits for an Event about another one.
            for round_ in rounds:
                await round_.together(round_.events, self._record)
        self.would_be = rounds[-1].would_be
        if not rounds[-1].failed and not rounds[-1].unread:
            self._aligned = policies
            self._due = time.monotonic() + (_SETTLED_SECONDS if changed else _RECHECK_SECONDS)

    @property
    def behind(self) -> bool:
        """Whether a policy has changed since the last round: a status that speaks of it would come too early."""
        return self._seen != self._store.policies

    async def remove_expired(self) -> None:
        """Delete what the gate published and nobody needs any more."""
        query = {"labelSelector": f"{LABEL_PUBLISHED_BY}=gate"}
        namespaces = self._store.governed.objects
        async for page in pages(self._client, namespaces, _CONFIGMAPS, metadata_only=True, query=query):
            for body in page:
                await self._remove_if_expired(body["metadata"])

    async def _remove_if_expired(self, metadata: Mapping[str, Any]) -> None:
        if seconds_since(metadata["creationTimestamp"]) < self._retention:
            return
        try:
            await self._client.delete(path(*_CONFIGMAPS, metadata["namespace"], metadata["name"]), uid=metadata["uid"])
        except (NotFoundError, ConflictError):
            return
        log.info("ConfigMap %s/%s: removed, it was published long ago", metadata["namespace"], metadata["name"])

    async def _align(self, body: Mapping[str, Any], round_: "_Round") -> None:
        if not round_.share.has(body["metadata"]["uid"]):
            return
        held = (*(body.get("data") or {}), *(body.get("binaryData") or {}))
        governed = self._store.governed
        if not may_concern(held) or not governed.has(body["metadata"]["namespace"]):
            return
        configmap = stored_configmap(body)
        effective = round_.policies.effective(configmap.namespace, configmap.labels)
        outcome = await self._decider.decide(configmap, effective)
        subject = Subject("ConfigMap", configmap.namespace, configmap.name, body["metadata"]["uid"])
        if outcome.dry_run and outcome.dry_run.policy:
            counts = round_.would_be.setdefault(outcome.dry_run.policy.key, Counter())
            counts[outcome.dry_run.decision.value] += 1
            round_.events.append(_Event(subject, Reason.DRY_RUN, outcome.warnings[-1]))
        merge = merge_for(configmap, outcome)
        if not merge:
            return
        metadata = {**merge.get("metadata", {}), "resourceVersion": body["metadata"]["resourceVersion"]}
        try:
            target = path(*_CONFIGMAPS, configmap.namespace, configmap.name)
            await self._client.patch(target, {**merge, "metadata": metadata}, metadata_only=True)
        except NotFoundError:
            return
        except ConflictError:  # changed meanwhile, by its owner or another controller: the next round tells
            round_.failed += 1
            return
        self._tell(configmap, outcome)
        warning = outcome.decision in (Decision.REFUSED, Decision.SITE_FORBIDS)
        round_.events.append(_Event(subject, outcome.reason, outcome.message, warning))

    async def _record(self, event: "_Event", _: "_Round") -> None:
        await record_event(self._client, event.subject, event.reason, event.message, warning=event.warning)

    @staticmethod
    def _tell(configmap: ConfigMap, outcome: Outcome) -> None:
        policy = outcome.policy.key if outcome.policy else None
        DECISIONS.labels("ConfigMap", outcome.decision.value, outcome.reason.value).inc()
        extra = fields(decision=outcome.decision.value, reason=outcome.reason.value, policy=policy)
        log.info("%s: brought into line: %s", configmap, outcome.decision.value, extra=extra)


@dataclass(frozen=True)
class _Event:
    subject: Subject
    reason: Reason
    message: str
    warning: bool = False


@dataclass
class _Round:
    """One round over a share of everything: under which policies, and what came of it."""

    policies: Policies
    share: Share
    would_be: dict[str, Counter[str]] = field(default_factory=dict)
    events: list[_Event] = field(default_factory=list)
    failed: int = 0
    unread: dict[str, ApiError] = field(default_factory=dict)  # namespaces

    async def together(self, items: Iterable[T], work: "Callable[[T, _Round], Awaitable[None]]") -> None:
        """Work on several at a time; what fails is counted, and must not keep the others waiting."""
        waiting = iter(items)

        async def take() -> None:
            for item in waiting:
                try:
                    await work(item, self)
                except (ApiError, NoAnswerError) as error:
                    log.warning("%s; trying it again", error)
                    self.failed += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(_TOGETHER):
                group.create_task(take())
