"""The third lock: `allow_log_streaming` in a site's own resources.json, where that lives in a ConfigMap.

NVFlare's client and server both read it there: the site's SiteLogStreamer uploads nothing, and the server drops what
comes, error logs included. So it is false under Forbidden only. NVFlare's provisioning writes true, which in a job's
process goes before the environment: under ErrorLogOnly that is left out, so that the variable on the job's pod decides
also where a job makes its process forget the argument. A file in which the site itself says false is never turned to
true: what a prohibition changed is noted together with the digest of the result, and only a file that still is that
result is changed back.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sitelog.core.jobconfig.budget import Budget, OverBudgetError
from sitelog.core.jobconfig.json_text import UnreadableError, dump, parse
from sitelog.core.names import (
    ANNOTATION_LOG_STREAMING,
    ANNOTATION_POLICY,
    ANNOTATION_POLICY_GENERATION,
    ANNOTATION_REASON,
    ANNOTATION_SITE_VALUE,
    LABEL_DECISION,
    LABEL_MANAGED,
    Decision,
    Reason,
)
from sitelog.core.policy.policy import LogStreaming, Policy

from .configmap import ConfigMap
from .outcome import Outcome

# NVFlare's chart puts the files of a site's local/ under keys like f0003-0123456789ab-resources.json, with a digest of
# the path: the same name in a folder below has another one (nvflare/tool/deploy/k8s_stage.py, _k8_stage_file_key).
_KEYS: Final = [
    re.compile(rf"(f\d{{4}}-{hashlib.sha256(name.encode()).hexdigest()[:12]}-)?{re.escape(name)}")
    for name in ("resources.json", "resources.json.default")
]
_VARIABLE: Final = "allow_log_streaming"
_TRUE: Final = ("true", "t", "yes", "y", "1")  # nvflare/fuel/utils/config_service.py, _to_bool


_TO_BE_TAKEN_BACK: Final = (Decision.SWITCHED_OFF, Decision.SITE_DEFERS, Decision.SITE_FORBIDS, Decision.REFUSED)
_ABSENT: Final = object()  # the variable does not stand in a file


@dataclass(frozen=True)
class _File:
    key: str
    raw: bytes
    config: dict[str, Any]


@dataclass(frozen=True)
class _Change:
    """What becomes of a file: the variable's value, the new text, and what to note of what the site itself says."""

    key: str
    value: Any
    text: str | None
    note: dict[str, Any] | None


def is_site_resources_key(key: str) -> bool:
    """Whether a ConfigMap's key is that of a resources.json."""
    return any(pattern.fullmatch(key) for pattern in _KEYS)


def decide_site_resources(configmap: ConfigMap, policy: Policy, budget: Budget) -> Outcome | None:
    """Decide about a ConfigMap with a site's resources under the policy that governs it.

    None if it holds none, or there is nothing to do and nothing to say.

    Raises
    ------
    OverBudgetError
        It is more work than a budget that is not final.
    """
    try:
        changes = [_change(configmap, file, policy.log_streaming) for file in _files(configmap, budget)]
    except OverBudgetError:
        if not budget.final:
            raise
        return _unusable(configmap, policy, Reason.TOO_LARGE, "it is more than can be read in time")
    except UnreadableError as error:
        return _unusable(configmap, policy, error.reason, str(error))
    if not changes:
        return None
    if configmap.immutable and policy.log_streaming.prohibits_streamer and any(change.text for change in changes):
        message = f"{configmap}: it is immutable, and its {_VARIABLE} lets jobs stream; delete it and create it again"
        return _outcome(policy, Decision.REFUSED, Reason.IMMUTABLE, message)
    return _decided(configmap, changes, policy)


def _unusable(configmap: ConfigMap, policy: Policy, reason: Reason, why: str) -> Outcome | None:
    if not policy.log_streaming.prohibits_streamer:
        return None
    message = f"{configmap}: {_VARIABLE} cannot be changed in it: {why}; write it more simply"
    return _outcome(policy, Decision.REFUSED, reason, message)


def _change(configmap: ConfigMap, file: _File, streaming: LogStreaming) -> _Change:
    note = _note(configmap, file)
    stored = file.config.get(_VARIABLE, _ABSENT)
    own = stored if note is None else note.get("value", _ABSENT)
    value = stored if configmap.immutable and streaming is LogStreaming.ALLOWED else _wanted(own, streaming)
    config = file.config
    if not _same(value, stored):
        config = {**config, _VARIABLE: value}
        if value is _ABSENT:
            del config[_VARIABLE]
    text = None if config is file.config else dump(config)
    if _same(value, own):
        return _Change(file.key, value, text, None)
    new = {} if own is _ABSENT else {"value": own}
    return _Change(file.key, value, text, {**new, "digest": _digest(file.raw if text is None else text.encode())})


def _wanted(own: Any, streaming: LogStreaming) -> Any:
    """Return what the variable is to be where the site itself says `own`."""
    match streaming:
        case LogStreaming.FORBIDDEN:
            return False
        case LogStreaming.ERROR_LOG_ONLY:
            return own if _forbids(own) else _ABSENT
    return own


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _decided(configmap: ConfigMap, changes: Sequence[_Change], policy: Policy) -> Outcome | None:
    texts = {change.key: change.text for change in changes if change.text is not None}
    notes = {change.key: change.note for change in changes if change.note is not None}
    streaming = policy.log_streaming
    if streaming is LogStreaming.FORBIDDEN:
        message = f"{configmap}: {_VARIABLE} is false, as SiteLogPolicy {policy.key} forbids log streaming"
        return _outcome(policy, Decision.SWITCHED_OFF, Reason.SITE_SWITCHED_OFF, message, texts, notes)
    if any(_forbids(change.value) for change in changes):
        message = (
            f"{configmap}: the site's own resources.json has {_VARIABLE} false, which stays, although"
            f" SiteLogPolicy {policy.key} says {streaming.value}"
        )
        return _outcome(policy, Decision.SITE_FORBIDS, Reason.SITE_FORBIDS, message, texts, notes)
    if notes:
        message = (
            f"{configmap}: {_VARIABLE} is left out, so that each job pod's environment decides, as SiteLogPolicy"
            f" {policy.key} says {streaming.value}"
        )
        return _outcome(policy, Decision.SITE_DEFERS, Reason.SITE_DEFERS, message, texts, notes)
    if not texts and configmap.provenance.get(LABEL_DECISION) not in _TO_BE_TAKEN_BACK:
        return None
    message = f"{configmap}: {_VARIABLE} is as the site has it, as SiteLogPolicy {policy.key} says {streaming.value}"
    return _outcome(policy, Decision.SWITCHED_ON, Reason.SITE_SWITCHED_ON, message, texts, notes)


def _outcome(
    policy: Policy,
    decision: Decision,
    reason: Reason,
    message: str,
    texts: Mapping[str, str] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Outcome:
    return Outcome(
        decision=decision,
        reason=reason,
        policy=policy,
        message=message,
        texts=texts or {},
        labels={LABEL_MANAGED: "true", LABEL_DECISION: decision.value},
        annotations={
            ANNOTATION_POLICY: policy.key,
            ANNOTATION_POLICY_GENERATION: str(policy.generation),
            ANNOTATION_LOG_STREAMING: policy.log_streaming.value,
            ANNOTATION_REASON: reason.value,
            ANNOTATION_SITE_VALUE: json.dumps(notes or {}, sort_keys=True),
        },
        warnings=(message,) if decision in (Decision.SITE_FORBIDS, Decision.REFUSED) else (),
    )


def _files(configmap: ConfigMap, budget: Budget) -> list[_File]:
    """Read the resources.json files of a client; a server's, and whatever else has that name, are not ours."""
    files = []
    for key in sorted(filter(is_site_resources_key, configmap.keys)):
        content = configmap.content(key)
        budget.spend_characters(len(content))
        try:
            config = parse(content.decode())
        except (UnreadableError, UnicodeDecodeError):
            continue  # NVFlare cannot start with it either
        if "client" in config and "format_version" in config:
            files.append(_File(key, content, config))
    return files


def _forbids(value: object) -> bool:
    """Whether NVFlare's client takes this value as false."""
    return value.lower() not in _TRUE if isinstance(value, str) else isinstance(value, int) and not value


def _note(configmap: ConfigMap, file: _File) -> dict[str, Any] | None:
    """Return what provenance says about a file that is still as a prohibition left it."""
    try:
        notes = json.loads(configmap.provenance.get(ANNOTATION_SITE_VALUE, "{}"))
        note = notes[file.key]
        return note if note["digest"] == _digest(file.raw) else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None  # no note, or not ours


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
