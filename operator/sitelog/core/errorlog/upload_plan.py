"""Whether a job pod's error log goes to the FL server, and what it would be."""

from dataclasses import dataclass

from sitelog.core.jobpod.identity import Identity, IdentityError, check_identity, parse_identity
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.jobpod.termination import Termination
from sitelog.core.names import Reason
from sitelog.core.policy.effective import EffectivePolicy
from sitelog.core.policy.policy import ErrorLog, Policy

from . import records


@dataclass(frozen=True)
class Skip:
    """Nothing is sent, and why."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Plan:
    """The error log is sent: whose it is, and how."""

    identity: Identity
    error_log: ErrorLog


def plan_upload(pod: JobPod, effective: EffectivePolicy) -> Skip | Plan | None:
    """Decide whether a pod's error log may be sent; None where no policy governs the pod."""
    policy = effective.governing
    if policy is None:
        return None
    if not policy.log_streaming.allows_error_log:
        return forbidden(policy)
    settings = effective.error_log
    if settings is None or not settings.upload:
        return Skip(Reason.UPLOAD_DISABLED, "no policy in force has errorLog.upload Enabled")
    try:
        identity = parse_identity(pod.argv)
        check_identity(identity, effective)
    except IdentityError as error:
        return Skip(error.reason, str(error))
    return Plan(identity, settings)


def forbidden(policy: Policy) -> Skip:
    """Say that a policy lets nothing of a job's logs leave the site."""
    return Skip(Reason.UPLOAD_FORBIDDEN, f"SiteLogPolicy {policy.key} forbids log streaming")


@dataclass(frozen=True)
class Captured:
    """What could be had of a job's own error log.

    Attributes
    ----------
    log : its end, as much as was kept.
    missing : bytes of it that stood before.
    partial : why bytes may be missing beside those, or None.
    lost : why there is nothing of it, or None.
    """

    log: bytes = b""
    missing: int = 0
    partial: str | None = None
    lost: str | None = None


def compose(pod: JobPod, end: Termination, captured: Captured, max_bytes: int) -> bytes:
    """Put the error log together; empty if there is nothing to send. Of a longer one the end is kept."""
    parts = [captured.log]
    if captured.partial:
        parts.append(records.partial_notice(pod, end, captured.partial))
    if captured.lost:
        parts.append(records.lost_notice(pod, end, captured.lost))
    if end.died:
        parts.append(records.closing_record(pod, end))
    return records.cut(records.join(*parts), max_bytes, captured.missing)
