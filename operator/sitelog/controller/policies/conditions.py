"""Conditions in a policy's status. Each has one writer, who leaves the others as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sitelog.core.names import Reason

_MAX_MESSAGE = 4096  # characters; the schema takes 32768


@dataclass(frozen=True)
class Finding:
    """What a condition says."""

    status: str
    reason: Reason
    message: str


def not_governed(namespace: str) -> Finding:
    """Say that a policy has no effect where it stands."""
    message = (
        f"Sitelog does not govern the namespace {namespace}: move this policy, or change the chart's namespaces or"
        " webhook.excludedNamespaces"
    )
    return Finding("False", Reason.NOT_GOVERNED, message)


def conditions_with(body: Mapping[str, Any], kind: str, finding: Finding) -> list[dict[str, Any]]:
    """Return a policy's conditions with this one as found; its time is that of the last change of its status."""
    before: list[dict[str, Any]] = (body.get("status") or {}).get("conditions") or []
    old: Mapping[str, Any] = next((each for each in before if each["type"] == kind), {})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": kind,
        "status": finding.status,
        "observedGeneration": body["metadata"]["generation"],
        "lastTransitionTime": old["lastTransitionTime"] if old.get("status") == finding.status else now,
        "reason": finding.reason.value,
        "message": finding.message[:_MAX_MESSAGE],
    }
    others = [each for each in before if each["type"] != kind]
    return sorted([*others, condition], key=lambda each: str(each["type"]))
