"""The policies' status: whether each does what it says, and counts of what it did."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from sitelog.core.names import ANNOTATION_POLICY, CONDITION_READY, LABEL_DECISION, LABEL_MANAGED, Decision, Reason
from sitelog.core.policy.policy import LogStreaming, Mode, OnRevoke, Policy
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError
from sitelog.kube.lists import denied, pages
from sitelog.kube.policy_list import list_policies
from sitelog.kube.policy_store import PolicyStore

from .conditions import Finding, conditions_with, not_governed
from .totals import Pending, policy_path

_COUNTED: Final = (
    Decision.INJECTED,
    Decision.DECLARED,
    Decision.STRIPPED,
    Decision.CLEAN,
    Decision.UNREADABLE,
)
_WOULD_BE: Final = (*_COUNTED, Decision.REFUSED)
_NAMED: Final = 5  # objects in a message
_LISTED: Final = 100  # pods in the list; the schema takes no more

log = logging.getLogger(__name__)


@dataclass
class _Seen:
    """What was seen of one policy's objects.

    Attributes
    ----------
    counts : ConfigMaps by decision.
    stuck, disagreeing : those that cannot be brought into line, and site files that forbid where the policy allows.
    unstopped : job pods that are still streaming under its prohibition.
    ungated : FL clients' pods without the gate that it asks for.
    would_be : ConfigMaps by what would be decided if the policy were enforced.
    """

    counts: Counter[str] = field(default_factory=Counter)
    stuck: list[str] = field(default_factory=list)
    disagreeing: list[str] = field(default_factory=list)
    unstopped: list[str] = field(default_factory=list)
    ungated: list[str] = field(default_factory=list)
    would_be: Counter[str] = field(default_factory=Counter)


class PolicyStatus:
    """Keeps the status of all policies true."""

    def __init__(self, client: KubeClient, store: PolicyStore, pending: Pending) -> None:
        self._client = client
        self._store = store
        self._pending = pending

    async def reconcile(
        self,
        unmarked: Callable[[], set[str]],
        unstopped: Mapping[str, list[str]],
        ungated: Mapping[str, list[str]],
        would_be: Mapping[str, Counter[str]],
    ) -> None:
        """Write each status that is not true.

        Parameters
        ----------
        unmarked : gives the uids whose counts are not settled yet.
        unstopped : job pods that are still streaming, by the policy that forbids.
        ungated : FL clients' pods without the gate, by the policy that asks for it.
        would_be : what would be decided about ConfigMaps, by the policy in mode DryRun.
        """
        seen = await self._configmaps()
        for key, pods in unstopped.items():
            seen.setdefault(key, _Seen()).unstopped = sorted(pods)
        for key, pods in ungated.items():
            seen.setdefault(key, _Seen()).ungated = sorted(pods)
        for key, counts in would_be.items():
            seen.setdefault(key, _Seen()).would_be = counts
        bodies = await list_policies(self._client, self._store)
        for body in bodies:
            key = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            # Asked after the list: what was counted since then changes the resourceVersion, and the patch fails.
            try:
                await self._update(body, seen.get(key, _Seen()), unmarked())
            except ApiError as error:
                # The API server takes no status of an object with a field that its schema has not.
                if not denied(error) and error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                    raise
                log.warning("the status of SiteLogPolicy %s cannot be written, trying again: %s", key, error)

    async def _configmaps(self) -> dict[str, _Seen]:
        seen: dict[str, _Seen] = {}
        query = {"labelSelector": LABEL_MANAGED}
        namespaces = self._store.governed.objects
        found = pages(self._client, namespaces, ("v1", "configmaps"), metadata_only=True, query=query)
        for body in [body async for page in found for body in page]:
            metadata = body["metadata"]
            name = f"{metadata['namespace']}/{metadata['name']}"
            decision = (metadata.get("labels") or {}).get(LABEL_DECISION, "")
            of_policy = seen.setdefault((metadata.get("annotations") or {}).get(ANNOTATION_POLICY, ""), _Seen())
            of_policy.counts[decision] += 1
            if decision == Decision.REFUSED:
                of_policy.stuck.append(name)
            elif decision == Decision.SITE_FORBIDS:
                of_policy.disagreeing.append(name)
        return seen

    async def _update(self, body: Mapping[str, Any], seen: _Seen, unmarked: set[str]) -> None:
        metadata, old = body["metadata"], body.get("status") or {}
        status, reason, message = self._ready(metadata["namespace"], metadata["name"], seen)
        uploads = old.get("uploads") or {}
        new = {
            "observedGeneration": metadata["generation"],
            "configMaps": {decision.value.lower(): seen.counts[decision.value] for decision in _COUNTED},
            "wouldBe": {decision.value.lower(): seen.would_be[decision.value] for decision in _WOULD_BE},
            "unstoppedPods": seen.unstopped[:_LISTED],
            "uploads": {key: int(uploads.get(key) or 0) for key in ("uploaded", "skipped", "failed")},
            "pendingCounts": self._pending.stay(old.get("pendingCounts") or [], unmarked),
            "conditions": conditions_with(body, CONDITION_READY, Finding(status, reason, message)),
        }
        if all(old.get(key) == value for key, value in new.items()):
            return
        change = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": new}
        try:
            await self._client.patch(policy_path(f"{metadata['namespace']}/{metadata['name']}", "status"), change)
        except (ConflictError, NotFoundError):
            return  # it has changed meanwhile: the next round sees that

    def _ready(self, namespace: str, name: str, seen: _Seen) -> tuple[str, Reason, str]:
        policy = next((p for p in self._store.policies if (p.namespace, p.name) == (namespace, name)), None)
        if problem := self._store.problem(namespace, name):
            return "False", Reason.SPEC_INVALID, f"{problem}; correct the field, {_meanwhile(policy)}"
        if policy is None:  # gone since it was listed
            return "Unknown", Reason.NO_POLICY, "it was deleted"
        if self._store.governed.reach(namespace) is None:
            finding = not_governed(namespace)
            return finding.status, finding.reason, finding.message
        return self._ready_where_governed(policy, seen)

    def _ready_where_governed(self, policy: Policy, seen: _Seen) -> tuple[str, Reason, str]:  # noqa: PLR0911 - one a reason
        if seen.stuck:
            shown = _some(seen.stuck)
            message = f"stored before and cannot be brought into line: {shown}; delete them"
            return "False", Reason.OBJECTS_REFUSED, message
        if seen.unstopped:
            deleting = policy.on_revoke is OnRevoke.DELETE_PODS
            next_step = "they are being deleted" if deleting else "delete them, or set onRevoke: DeletePods"
            message = f"job pods started before this policy are still streaming: {_some(seen.unstopped)}; {next_step}"
            return "False", Reason.STREAMING_NOT_STOPPED, message
        if seen.ungated:
            message = f"FL clients run without the gate: {_some(seen.ungated)}; what to do is in their Events"
            return "False", Reason.GATE_MISSING, message
        if policy.mode is Mode.DRY_RUN:
            return "True", Reason.DRY_RUN, "nothing is changed or refused; warnings and wouldBe tell what would be"
        if over := self._overriding(policy):
            stricter = over.log_streaming.value
            return "True", Reason.OVERRIDDEN, f"SiteLogPolicy {over.key} says {stricter}, and the stricter policy wins"
        if seen.disagreeing:
            message = f"the site's own resources.json forbids log streaming, which stays: {_some(seen.disagreeing)}"
            return "True", Reason.SITE_FORBIDS, message
        return "True", Reason.IN_FORCE, _in_force(policy)

    def _overriding(self, policy: Policy) -> Policy | None:
        """Return a stricter policy that reaches all or some of the objects that this one governs."""
        reach = {policy.namespace, self._store.governed.root}
        stricter = (
            other
            for other in sorted(self._store.policies, key=lambda p: p.rank)
            if other.log_streaming.strictness > policy.log_streaming.strictness
            and other.mode is Mode.ENFORCE
            and (other.namespace in reach or policy.namespace == self._store.governed.root)
        )
        return next(stricter, None)


def _meanwhile(kept: Policy | None) -> str:
    """Say what of a policy that cannot be read is in effect."""
    if kept is None:
        return "until then the policy does not count"
    rest = f"{kept.log_streaming.value} for all objects in mode {kept.mode.value}"
    return f"until then it is {rest}, and nothing else of it counts"


def _in_force(policy: Policy) -> str:
    """Say what the policy's log streaming means, so that nobody is surprised by what leaves the site."""
    match policy.log_streaming:
        case LogStreaming.ALLOWED:
            file = policy.streamer.log_file_name
            return f"log streaming is Allowed: jobs that declare no log streaming of their own stream {file}"
        case LogStreaming.ERROR_LOG_ONLY:
            sent = policy.error_log is not None and policy.error_log.upload
            return "log streaming is ErrorLogOnly: no live log; " + (
                "error logs are uploaded after the end" if sent else "this policy has no errorLog.upload Enabled"
            )
        case LogStreaming.FORBIDDEN:
            return "log streaming is Forbidden: no live log, and no error log is uploaded"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
