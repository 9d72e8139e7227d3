"""The decisions that `sitelog check` shows."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sitelog.core.configmap.decide import decided_contents
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import Decision
from sitelog.core.policy.effective import effective
from sitelog.core.policy.policy import Policy
from sitelog.decider.door import Decider

from .documents import one_line
from .given import Given

_INDENT = " " * 12


@dataclass(frozen=True)
class Result:
    """The decision about one configuration, or one file with a site's resources.

    Attributes
    ----------
    path : the file; for a ConfigMap manifest, `file#namespace/name/key`.
    now : what would be decided about its ConfigMap.
    raw : what it holds.
    key : what it is called in the ConfigMap.
    """

    path: str
    now: Outcome
    key: str
    raw: bytes

    @property
    def refused(self) -> bool:
        """Whether the webhook would not let it in."""
        return self.now.decision is Decision.REFUSED


def decide(given: Given, policies: Sequence[Policy], decider: Decider) -> Iterator[Result]:
    """Decide about a ConfigMap as the webhook does, and give what comes of each of its keys.

    A policy of another namespace than an object's counts as the release's own, so that one policy file is enough.
    """
    outcome = decider.decide_and_wait(given.configmap, effective(policies, given.configmap.labels))
    for key, raw in decided_contents(given.configmap).items():
        yield Result(f"{given.label}/{key}" if given.from_manifest else given.label, outcome, key, raw)


def as_json(results: Sequence[Result]) -> str:
    """Write results as a JSON list; `wouldBe` has what the policies in mode DryRun would make of it, if enforced."""
    return json.dumps([_entry(result) for result in results], indent=2)


def as_text(results: Sequence[Result]) -> str:
    """Write results for a person: a line each, the reason below it, and what a policy in mode DryRun would do."""
    lines = []
    for result in results:
        lines += [f"{result.now.decision.value:<12}{result.path}", _INDENT + result.now.message]
        if would := result.now.dry_run:
            lines.append(f"{_INDENT}DryRun: would be {would.decision.value}. {would.message}")
    return "\n".join(map(one_line, lines))


def _entry(result: Result) -> dict[str, Any]:
    would = result.now.dry_run
    return {
        "path": result.path,
        **_decision(result, result.now),
        "wouldBe": _decision(result, would) if would else None,
    }


def _decision(result: Result, outcome: Outcome) -> dict[str, Any]:
    text = outcome.texts.get(result.key)
    whole = text if text is not None else _text(result.raw)
    return {
        "decision": outcome.decision.value,
        "reason": outcome.reason.value,
        "policy": outcome.policy.key if outcome.policy else None,
        "changed": text is not None,
        "result": None if outcome.decision is Decision.REFUSED else whole,
        "message": outcome.message,
    }


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
