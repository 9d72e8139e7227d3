"""One attempt to deliver a log to the FL server: look at what it keeps, send what is missing, look again."""

from dataclasses import dataclass
from pathlib import Path

from sitelog.core.errorlog.stored_copy import to_keep
from sitelog.core.names import Reason

from .courier import Courier
from .failure import Failure
from .kit import Kit, read_kit
from .probe import probe

LOG_NAME = "error_log.txt"  # by this very name the server stores it as ERRORLOG_<client>
MAX_STORED = 128 << 20  # of the server's copy: both logs are held in memory to be compared


@dataclass(frozen=True)
class UploadRequest:
    """A log, whose it is, and where it goes.

    Attributes
    ----------
    log : the log, in a file of the name that NVFlare knows, in a folder that may be written to.
    kit : the folder of the courier's kit, read anew for each attempt.
    server : HOST:PORT instead of the kit's own.
    """

    log: Path
    job_id: str
    client_name: str
    kit: Path
    server: str | None = None


@dataclass(frozen=True)
class DeliveryAttempt:
    """What an attempt found and did.

    Attributes
    ----------
    sent : something; otherwise the server had the log.
    verified : the server was seen to have it, when the attempt ended.
    """

    server: str
    participant: str
    sent: bool
    verified: bool


def attempt(request: UploadRequest) -> DeliveryAttempt:
    """See to it that the server has the log; raises `Failure`."""
    kit = read_kit(request.kit, request.server)
    if kit.participant == request.client_name:
        raise Failure(
            Reason.KIT_IS_THE_SITE,
            f"the kit is the site's own ({kit.participant!r}): connecting with it would evict the live client; "
            "provision a participant of its own for the courier",
            final=True,
        )
    probe(kit)
    with Courier(kit) as courier:
        return _attempt(courier, kit, request)


def _attempt(courier: Courier, kit: Kit, request: UploadRequest) -> DeliveryAttempt:
    ours = request.log.read_bytes()
    stored = _stored(courier, request) if courier.log_in() else None
    if stored is None:
        courier.send(request.log, request.job_id, request.client_name)
        return DeliveryAttempt(str(kit.target), kit.participant, sent=True, verified=False)
    wanted = to_keep(stored, ours)
    if wanted == stored:
        return DeliveryAttempt(str(kit.target), kit.participant, sent=False, verified=True)
    courier.send(_written(wanted, request), request.job_id, request.client_name)
    stored = _stored(courier, request)
    if stored is None or to_keep(stored, ours) != stored:
        raise Failure(
            Reason.NOT_STORED,
            f"{kit.target} took the log and did not store it: the site may forbid log streaming there, "
            "or another upload for this job and client ran at the same time",
        )
    return DeliveryAttempt(str(kit.target), kit.participant, sent=True, verified=True)


def _stored(courier: Courier, request: UploadRequest) -> bytes | None:
    """Give the server's copy, empty where it has none; None where the kit may not look."""
    copy = request.log.with_name("stored")
    found = courier.fetch(request.job_id, request.client_name, copy)
    if not found:
        return None if found is None else b""
    if copy.stat().st_size > MAX_STORED:
        raise Failure(
            Reason.NOT_STORED,
            f"the copy on the server is larger than {MAX_STORED >> 20} MiB: too large to be compared, so it was left "
            "as it is",
            final=True,
        )
    return copy.read_bytes()


def _written(wanted: bytes, request: UploadRequest) -> Path:
    folder = request.log.with_name("wanted")
    folder.mkdir(exist_ok=True)
    file = folder / LOG_NAME
    file.write_bytes(wanted)
    return file
