"""The third lock: `allow_log_streaming` in a site's own resources.json, where that lives in a ConfigMap.

NVFlare's client and server both read it there: the site's SiteLogStreamer uploads nothing, and the server drops what
comes. It follows the policy. A file in which the site itself says false is never turned to true.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .configmap import ConfigMap, Outcome
from .json_text import UnreadableError, dump, parse
from .names import (
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
from .policy import LogStreaming, Policy, in_force

# NVFlare's chart puts the files of a site's local/ under keys like f0003-0123456789ab-resources.json
# (nvflare/tool/deploy/k8s_stage.py, _k8_stage_file_key).
_KEY: Final = re.compile(r"(f\d{4}-[0-9a-f]{12}-)?resources\.json(\.default)?")
_VARIABLE: Final = "allow_log_streaming"
_ABSENT: Final = "absent"


@dataclass(frozen=True)
class _File:
    key: str
    config: dict[str, Any]


def is_site_resources_key(key: str) -> bool:
    """Whether a ConfigMap's key is that of a resources.json."""
    return _KEY.fullmatch(key) is not None


def decide_site_resources(configmap: ConfigMap, concerned: Sequence[Policy]) -> Outcome | None:
    """Decide about a ConfigMap with a site's resources under the policies that concern it.

    None if it holds none, nobody governs it, or there is nothing to do and nothing to say.
    """
    files, policy = _files(configmap), in_force(concerned).governing
    if not files or policy is None:
        return None
    if policy.log_streaming is LogStreaming.FORBIDDEN:
        return _switch_off(configmap, files, policy)
    return _switch_on(configmap, files, policy)


def _switch_off(configmap: ConfigMap, files: Sequence[_File], policy: Policy) -> Outcome:
    saying = [file for file in files if file.config.get(_VARIABLE) is not False]
    if saying and configmap.immutable:
        message = f"{configmap}: it is immutable, and lets the site stream; delete it and create it again"
        return _outcome(policy, Decision.REFUSED, Reason.IMMUTABLE, message)
    texts = {file.key: dump({**file.config, _VARIABLE: False}) for file in saying}
    before = {file.key: file.config.get(_VARIABLE, _ABSENT) for file in saying} or _before(configmap)
    message = f"{configmap}: {_VARIABLE} is false, as SiteLogPolicy {policy.key} wants"
    return _outcome(policy, Decision.SWITCHED_OFF, Reason.SITE_SWITCHED_OFF, message, texts, before)


def _switch_on(configmap: ConfigMap, files: Sequence[_File], policy: Policy) -> Outcome | None:
    """Undo what was done under a prohibition, and nothing else."""
    before, texts = _before(configmap), {}
    for file in files:
        if file.config.get(_VARIABLE) is False and file.key in before and not configmap.immutable:
            config = {key: value for key, value in file.config.items() if key != _VARIABLE}
            if before[file.key] != _ABSENT:
                config = {**file.config, _VARIABLE: before[file.key]}
            texts[file.key] = dump(config)
    if any(file.config.get(_VARIABLE) is False and file.key not in texts for file in files):
        message = (
            f"{configmap}: the site's own resources.json has {_VARIABLE} false, which stays, although"
            f" SiteLogPolicy {policy.key} allows log streaming"
        )
        return _outcome(policy, Decision.SITE_FORBIDS, Reason.SITE_FORBIDS, message)
    if not texts and configmap.mark.get(LABEL_DECISION) not in (Decision.SWITCHED_OFF, Decision.SITE_FORBIDS):
        return None
    message = f"{configmap}: {_VARIABLE} is as the site has it, as SiteLogPolicy {policy.key} allows"
    return _outcome(policy, Decision.SWITCHED_ON, Reason.SITE_SWITCHED_ON, message, texts)


def _outcome(
    policy: Policy,
    decision: Decision,
    reason: Reason,
    message: str,
    texts: Mapping[str, str] | None = None,
    before: Mapping[str, Any] | None = None,
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
            ANNOTATION_SITE_VALUE: json.dumps(before or {}, sort_keys=True),
        },
        warnings=(message,) if decision in (Decision.SITE_FORBIDS, Decision.REFUSED) else (),
    )


def _files(configmap: ConfigMap) -> list[_File]:
    """Read the resources.json files of a client; a server's, and whatever else has that name, are not ours."""
    raw = {key: text.encode("utf-8", "surrogatepass") for key, text in configmap.data.items()}
    raw |= dict(configmap.binary_data)
    files = []
    for key, content in raw.items():
        if not is_site_resources_key(key):
            continue
        try:
            config = parse(content.decode())
        except (UnreadableError, UnicodeDecodeError):
            continue  # NVFlare cannot start with it either
        if "client" in config and "format_version" in config:
            files.append(_File(key, config))
    return files


def _before(configmap: ConfigMap) -> dict[str, Any]:
    """Read from the stamp what the files said before a prohibition, by key."""
    try:
        value = json.loads(configmap.mark.get(ANNOTATION_SITE_VALUE, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
