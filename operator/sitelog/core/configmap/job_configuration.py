"""The decision about a ConfigMap with a job's configuration: which keys hold one, and what becomes of each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sitelog.core.jobconfig import json_text
from sitelog.core.jobconfig.budget import Budget, OverBudgetError
from sitelog.core.jobconfig.formats import Format, format_of
from sitelog.core.jobconfig.verdict import Verdict, judge, too_large, unusable
from sitelog.core.names import ANNOTATION_REASON, LABEL_DECISION, Decision, Reason
from sitelog.core.policy.policy import Policy

from .configmap import MAX_BYTES, ConfigMap
from .outcome import Outcome
from .provenance import provenance

# The one decision about a ConfigMap with several configurations: the first of these that occurs.
_GRAVEST: Final = (
    Decision.REFUSED,
    Decision.UNREADABLE,
    Decision.STRIPPED,
    Decision.INJECTED,
    Decision.DECLARED,
    Decision.CLEAN,
)


def decide_job_configuration(configmap: ConfigMap, policy: Policy, budget: Budget) -> Outcome:
    """Decide about a ConfigMap with a job's configuration under the policy that governs it.

    A configuration that is more work than a final budget is refused where the policy prohibits, and left alone where it
    allows.

    Raises
    ------
    OverBudgetError
        It is more work than a budget that is not final.
    """
    configurations = configmap.configurations
    verdicts = _verdicts(configmap, configurations, policy, budget)
    key, verdict = min(verdicts.items(), key=lambda item: _GRAVEST.index(item[1].decision))
    texts = {k: v.text for k, v in verdicts.items() if v.text is not None and v.text.encode() != configurations[k]}
    if texts and configmap.immutable:
        message = "it is immutable and cannot be changed; delete the ConfigMap and create it again"
        refused = policy.log_streaming.prohibits_streamer
        verdict = Verdict(Decision.REFUSED if refused else Decision.UNREADABLE, Reason.IMMUTABLE, message, None)
        texts = {}
    message = _sentence(configmap, key, verdict, policy)
    labels, annotations = provenance(configmap, texts, verdict, policy)
    return Outcome(
        decision=Decision(labels[LABEL_DECISION]),
        reason=Reason(annotations[ANNOTATION_REASON]),
        policy=policy,
        message=message,
        texts=texts,
        labels=labels,
        annotations=annotations,
        warnings=(message,) if verdict.decision is Decision.UNREADABLE else (),
    )


def _verdicts(
    configmap: ConfigMap, configurations: Mapping[str, bytes], policy: Policy, budget: Budget
) -> dict[str, Verdict]:
    """Decide each key: a streamer goes from all of them, and is added to the one that NVFlare would read."""
    prohibited = policy.log_streaming.prohibits_streamer
    keys = list(configurations) if prohibited else list(configurations)[:1]
    other = sum(map(len, configmap.data)) + sum(map(len, configmap.binary_data))
    other += sum(len(text.encode("utf-8", "surrogatepass")) for text in configmap.data.values())
    other += sum(map(len, configmap.binary_data.values()))
    ours = configmap.provenance.get(LABEL_DECISION) == Decision.INJECTED
    verdicts = {}
    for key in keys:
        raw = configurations[key]
        try:
            room = MAX_BYTES - other + len(raw)
            verdicts[key] = _verdict(key, raw, policy, budget, room=room, injected_before=ours)
        except OverBudgetError:
            if not budget.final:
                raise
            verdicts[key] = replace(too_large("", policy.log_streaming), text=None)
    return verdicts


def _verdict(key: str, raw: bytes, policy: Policy, budget: Budget, *, room: int, injected_before: bool) -> Verdict:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        message = f"it is not UTF-8 text (byte {error.start})"
        return replace(unusable("", policy.log_streaming, Reason.NOT_UTF8, message), text=None)
    verdict = judge(
        text, policy.log_streaming, policy.streamer, format_of(key), injected_before=injected_before, budget=budget
    )
    if verdict.text is None or verdict.text == text or len(verdict.text.encode()) <= room:
        return verdict
    if format_of(key) is Format.JSON:
        compact = json_text.compact(json_text.parse(verdict.text))
        if len(compact) <= room:
            return replace(verdict, text=compact)
    return unusable(text, policy.log_streaming, Reason.TOO_LARGE, "it would not fit into a ConfigMap afterwards")


def _sentence(configmap: ConfigMap, key: str, verdict: Verdict, policy: Policy) -> str:
    says = f"SiteLogPolicy {policy.key}: log streaming {policy.log_streaming.value}"
    return f"{configmap}, key {key}: {verdict.message} ({says})"
