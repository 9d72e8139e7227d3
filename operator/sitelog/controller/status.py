"""The policies' status: whether each does what it says, and counts of what it did."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sitelog.core.names import ANNOTATION_POLICY, LABEL_DECISION, LABEL_MANAGED, Decision, Reason
from sitelog.core.policy import LogStreaming, Mode, Policy
from sitelog.kube.client import ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.policies import PolicyBook
from sitelog.kube.watching import list_policies

from .ledger import policy_path, settled

_COUNTED: Final = (
    Decision.INJECTED,
    Decision.DECLARED,
    Decision.STRIPPED,
    Decision.CLEAN,
    Decision.UNREADABLE,
)
_NAMED: Final = 5  # objects in a message


class StatusKeeper:
    """Keeps the status of all policies true."""

    def __init__(self, client: KubeClient, book: PolicyBook, *, root_namespace: str) -> None:
        self._client = client
        self._book = book
        self._root_namespace = root_namespace

    async def look(self, unmarked: Callable[[], set[str]]) -> None:
        """Write each status that is not true. `unmarked`: gives the uids whose counts are not settled yet."""
        configmaps = await self._client.list_all(
            path("v1", "configmaps"), metadata_only=True, labelSelector=LABEL_MANAGED
        )
        counts: dict[str, Counter[str]] = {}
        stuck: dict[str, list[str]] = {}
        for body in configmaps:
            metadata = body["metadata"]
            policy = (metadata.get("annotations") or {}).get(ANNOTATION_POLICY, "")
            decision = (metadata.get("labels") or {}).get(LABEL_DECISION, "")
            counts.setdefault(policy, Counter())[decision] += 1
            if decision == Decision.REFUSED:
                stuck.setdefault(policy, []).append(f"{metadata['namespace']}/{metadata['name']}")
        bodies = await list_policies(self._client, self._book)
        for body in bodies:
            key = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            # Asked after the list: what was counted since then changes the resourceVersion, and the patch fails.
            await self._update(body, counts.get(key, Counter()), stuck.get(key, []), unmarked())

    async def _update(
        self, body: Mapping[str, Any], counts: Counter[str], stuck: Sequence[str], unmarked: set[str]
    ) -> None:
        metadata, old = body["metadata"], body.get("status") or {}
        status, reason, message = self._ready(metadata["namespace"], metadata["name"], stuck)
        uploads = old.get("uploads") or {}
        new = {
            "observedGeneration": metadata["generation"],
            "configMaps": {decision.value.lower(): counts[decision.value] for decision in _COUNTED},
            "uploads": {key: int(uploads.get(key) or 0) for key in ("uploaded", "skipped", "failed")},
            "pendingCounts": settled(old.get("pendingCounts") or [], unmarked),
            "conditions": [_condition(old, metadata["generation"], status, reason, message)],
        }
        if all(old.get(key) == value for key, value in new.items()):
            return
        change = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": new}
        try:
            await self._client.patch(policy_path(f"{metadata['namespace']}/{metadata['name']}", "status"), change)
        except (ConflictError, NotFoundError):
            return  # it has changed meanwhile: the next look sees that

    def _ready(self, namespace: str, name: str, stuck: Sequence[str]) -> tuple[str, Reason, str]:
        if problem := self._book.problem(namespace, name):
            return "False", Reason.SPEC_INVALID, f"{problem}; correct the field, until then it does not count"
        policy = next(p for p in self._book.policies if (p.namespace, p.name) == (namespace, name))
        if stuck:
            shown = ", ".join(stuck[:_NAMED]) + (f" and {len(stuck) - _NAMED} more" if len(stuck) > _NAMED else "")
            return (
                "False",
                Reason.OBJECTS_REFUSED,
                f"stored before and cannot be brought into line: {shown}; delete them",
            )
        if policy.mode is Mode.DRY_RUN:
            return "True", Reason.DRY_RUN, "nothing is changed or refused; warnings tell what would be"
        if over := self._overriding(policy):
            return "True", Reason.OVERRIDDEN, f"SiteLogPolicy {over.key} forbids log streaming, and a prohibition wins"
        return "True", Reason.IN_FORCE, f"log streaming is {policy.log_streaming.value}"

    def _overriding(self, policy: Policy) -> Policy | None:
        """Return a policy whose prohibition reaches all or some of the objects that this one allows."""
        if policy.log_streaming is LogStreaming.FORBIDDEN:
            return None
        reach = {policy.namespace, self._root_namespace}
        forbidding = (
            other
            for other in sorted(self._book.policies, key=lambda p: p.rank)
            if other.log_streaming is LogStreaming.FORBIDDEN
            and other.mode is Mode.ENFORCE
            and (other.namespace in reach or policy.namespace == self._root_namespace)
        )
        return next(forbidding, None)


def _condition(old: Mapping[str, Any], generation: int, status: str, reason: Reason, message: str) -> dict[str, Any]:
    """Build the Ready condition; its time is that of the last change of its status."""
    before: Mapping[str, Any] = next((c for c in old.get("conditions") or () if c["type"] == "Ready"), {})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "Ready",
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == status else now,
        "reason": reason.value,
        "message": message,
    }
