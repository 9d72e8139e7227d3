"""The decision about a whole ConfigMap: which keys hold a job's configuration, what becomes of them, the stamp."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .jobconfig import json_text
from .jobconfig.budget import Budget, OverBudgetError
from .jobconfig.decision import Verdict, decide, too_large, unusable
from .jobconfig.formats import Format, format_of
from .names import (
    ANNOTATION_CONFIG_DIGEST,
    ANNOTATION_LOG_STREAMING,
    ANNOTATION_POLICY,
    ANNOTATION_POLICY_GENERATION,
    ANNOTATION_REASON,
    ANNOTATION_RESULT_DIGEST,
    CONFIG_BASENAME,
    LABEL_DECISION,
    LABEL_MANAGED,
    Decision,
    Reason,
)
from .policy import InForce, LogStreaming, Policy, if_enforced, in_force

# In the order in which NVFlare looks (nvflare/fuel/utils/config.py, ConfigFormat.config_ext_formats).
EXTENSIONS: Final = (
    ".json",
    ".conf",
    ".yml",
    ".yaml",
    ".json.default",
    ".conf.default",
    ".yml.default",
    ".yaml.default",
)
CONFIG_KEYS: Final = tuple(CONFIG_BASENAME + extension for extension in EXTENSIONS)
MAX_BYTES: Final = 1024 * 1024  # of all keys' data together; the API server accepts no more

# What a stamp may go on saying while the word of the policy stays, although the text now needs nothing.
_LASTING: Final = {
    LogStreaming.ALLOWED: (Decision.INJECTED, Decision.DECLARED),
    LogStreaming.ERROR_LOG_ONLY: (Decision.STRIPPED, Decision.CLEAN),
    LogStreaming.FORBIDDEN: (Decision.STRIPPED, Decision.CLEAN),
}
# The one word for a ConfigMap with several configurations: the first of these that occurs.
_GRAVEST: Final = (
    Decision.REFUSED,
    Decision.UNREADABLE,
    Decision.STRIPPED,
    Decision.INJECTED,
    Decision.DECLARED,
    Decision.CLEAN,
)


@dataclass(frozen=True)
class ConfigMap:
    """A ConfigMap as the decision sees it.

    `mark` has the labels and annotations that an earlier decision wrote: those that the object comes with, or those of
    what is stored. In a cluster the API server takes away what others than Sitelog write there.
    `immutable` says that its stored data cannot be changed any more; not that a new object asks to become so.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    binary_data: Mapping[str, bytes] = field(default_factory=dict)
    immutable: bool = False
    mark: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """What it holds something under."""
        return self.data.keys() | self.binary_data.keys()

    def content(self, key: str) -> bytes:
        """Return what it holds under one of its keys."""
        if key in self.binary_data:
            return self.binary_data[key]
        return self.data[key].encode("utf-8", "surrogatepass")

    @property
    def configurations(self) -> dict[str, bytes]:
        """The job configurations it holds, by key, in NVFlare's order."""
        return {key: self.content(key) for key in CONFIG_KEYS if key in self.data or key in self.binary_data}

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Outcome:
    """What becomes of a ConfigMap.

    Attributes
    ----------
    decision, reason : the codes, as the stamp, metrics and logs have them.
    policy : the policy that decided, or None where nobody governs the object.
    message : a sentence for a person: the object, the key, the policy, the next step.
    texts : the new text of each configuration that changes, by key.
    labels, annotations : the stamp; empty where nobody governs the object.
    warnings : what the person who sent the object should see.
    rehearsal : what would become of it if the policies in mode DryRun were enforced, where that differs.
    """

    decision: Decision
    reason: Reason
    policy: Policy | None = None
    message: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rehearsal: "Outcome | None" = None


def decide_configmap(configmap: ConfigMap, concerned: Sequence[Policy], budget: Budget | None = None) -> Outcome:
    """Decide about a ConfigMap under the policies that concern it (`policy.applicable`).

    Parameters
    ----------
    configmap : the object.
    concerned : the policies, of either mode, in rank order.
    budget : the work that this may be. A configuration that is more than the final one is refused where the site
        forbids, and left alone where it allows.

    Raises
    ------
    OverBudgetError
        It is more work than a budget that is not final.
    """
    force = in_force(concerned)
    outcome = _decide(configmap, force, budget)
    rehearsed = if_enforced(concerned)
    if rehearsed == force:
        return outcome
    return with_rehearsal(outcome, _decide(configmap, rehearsed, budget))


def _decide(configmap: ConfigMap, force: InForce, budget: Budget | None) -> Outcome:
    policy, configurations = force.governing, configmap.configurations
    if policy is None or not configurations:
        return Outcome(Decision.UNGOVERNED, Reason.NO_POLICY, message=f"{configmap}: no policy governs it")
    verdicts = _verdicts(configmap, configurations, policy, budget)
    key, verdict = min(verdicts.items(), key=lambda item: _GRAVEST.index(item[1].decision))
    texts = {k: v.text for k, v in verdicts.items() if v.text is not None and v.text.encode() != configurations[k]}
    if texts and configmap.immutable:
        message = "it is immutable and cannot be changed; delete the ConfigMap and create it again"
        refused = policy.log_streaming.prohibits_streamer
        verdict = Verdict(Decision.REFUSED if refused else Decision.UNREADABLE, Reason.IMMUTABLE, message, None)
        texts = {}
    message = _sentence(configmap, key, verdict, policy)
    labels, annotations = _stamp(configmap, configurations, texts, verdict, policy)
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
    configmap: ConfigMap, configurations: Mapping[str, bytes], policy: Policy, budget: Budget | None
) -> dict[str, Verdict]:
    """Decide each key: a streamer goes from all of them, and is added to the one that NVFlare would read."""
    prohibited = policy.log_streaming.prohibits_streamer
    keys = list(configurations) if prohibited else list(configurations)[:1]
    other = sum(map(len, configmap.data)) + sum(map(len, configmap.binary_data))
    other += sum(len(text.encode("utf-8", "surrogatepass")) for text in configmap.data.values())
    other += sum(map(len, configmap.binary_data.values()))
    ours = configmap.mark.get(LABEL_DECISION) == Decision.INJECTED
    shared = budget or Budget(final=True)
    verdicts = {}
    for key in keys:
        raw = configurations[key]
        try:
            room = MAX_BYTES - other + len(raw)
            verdicts[key] = _verdict(key, raw, policy, shared, room=room, injected_before=ours)
        except OverBudgetError:
            if not shared.final:
                raise
            verdicts[key] = replace(too_large("", policy.log_streaming), text=None)
    return verdicts


def _verdict(key: str, raw: bytes, policy: Policy, budget: Budget, *, room: int, injected_before: bool) -> Verdict:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        message = f"it is not UTF-8 text (byte {error.start})"
        return replace(unusable("", policy.log_streaming, Reason.NOT_UTF8, message), text=None)
    verdict = decide(
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
    word = f"SiteLogPolicy {policy.key}: log streaming {policy.log_streaming.value}"
    return f"{configmap}, key {key}: {verdict.message} ({word})"


def _stamp(
    configmap: ConfigMap,
    before: Mapping[str, bytes],
    texts: Mapping[str, str],
    verdict: Verdict,
    policy: Policy,
) -> tuple[dict[str, str], dict[str, str]]:
    decision, reason, digest = verdict.decision.value, verdict.reason.value, _digest(before)
    result = _digest({key: texts[key].encode() if key in texts else raw for key, raw in before.items()})
    earlier = configmap.mark
    if not texts and earlier.get(ANNOTATION_RESULT_DIGEST) == result:
        # The text stands as an earlier decision left it: the stamp goes on saying how it came about.
        lasting = earlier.get(LABEL_DECISION)
        if verdict.decision in _LASTING[policy.log_streaming] and lasting in _LASTING[policy.log_streaming]:
            decision = str(lasting)
            reason = earlier.get(ANNOTATION_REASON, reason)
            digest = earlier.get(ANNOTATION_CONFIG_DIGEST, digest)
    return (
        {LABEL_MANAGED: "true", LABEL_DECISION: decision},
        {
            ANNOTATION_POLICY: policy.key,
            ANNOTATION_POLICY_GENERATION: str(policy.generation),
            ANNOTATION_LOG_STREAMING: policy.log_streaming.value,
            ANNOTATION_REASON: reason,
            ANNOTATION_CONFIG_DIGEST: digest,
            ANNOTATION_RESULT_DIGEST: result,
        },
    )


def _digest(configurations: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for key, raw in configurations.items():
        digest.update(f"{key}\0{len(raw)}\0".encode() + raw)
    return f"sha256:{digest.hexdigest()}"


def with_rehearsal(outcome: Outcome, rehearsed: Outcome) -> Outcome:
    """Add what would happen if the policies in mode DryRun were enforced, where that differs."""
    same = (outcome.decision, outcome.texts) == (rehearsed.decision, rehearsed.texts)
    if same or rehearsed.policy is None:
        return outcome
    warning = (
        f"DryRun of SiteLogPolicy {rehearsed.policy.key}: would be {rehearsed.decision.value}. {rehearsed.message}"
    )
    return replace(
        outcome,
        reason=Reason.DRY_RUN if outcome.policy is None else outcome.reason,
        warnings=(*outcome.warnings, warning),
        rehearsal=rehearsed,
    )
