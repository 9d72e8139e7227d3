"""Whether a job pod's error log goes to the FL server, and what it would be."""

from dataclasses import dataclass

from . import error_log
from .identity import Identity, IdentityError, check_identity, parse_identity
from .names import Reason
from .outcome import PodEnd
from .pod import JobPod
from .policy import ErrorLog, InForce, LogStreaming


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


def plan_upload(pod: JobPod, force: InForce) -> Skip | Plan | None:
    """Decide whether a pod's error log may be sent; None where no policy governs the pod."""
    policy = force.governing
    if policy is None:
        return None
    if policy.log_streaming is LogStreaming.FORBIDDEN:
        return Skip(Reason.UPLOAD_FORBIDDEN, f"SiteLogPolicy {policy.key} forbids log streaming")
    settings = force.error_log
    if settings is None or not settings.upload:
        return Skip(Reason.UPLOAD_DISABLED, "no policy in force has errorLog.upload Enabled")
    try:
        identity = parse_identity(pod.argv)
        check_identity(identity, force)
    except IdentityError as error:
        return Skip(error.reason, str(error))
    return Plan(identity, settings)


def compose(pod: JobPod, end: PodEnd, records: bytes, lost: str | None, max_bytes: int) -> bytes:
    """Put the error log together; empty if there is nothing to send.

    Parameters
    ----------
    records : error records that were captured.
    lost : why the job's own log could not be read, or None if it was.
    max_bytes : the end is kept.
    """
    parts = [records]
    if lost:
        parts.append(error_log.lost_notice(pod, end, lost))
    if end.died:
        parts.append(error_log.closing_record(pod, end))
    return error_log.cut(error_log.join(*parts), max_bytes)
