"""`sitelog upload`: bring one captured error log to the FL server, and say what became of it."""

import contextlib
import gzip
import io
import json
import logging
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import tenacity

from sitelog.core.names import EXIT_DELIVERED, EXIT_GIVE_UP, EXIT_RETRY, Reason

from .delivery_attempt import LOG_NAME, DeliveryAttempt, UploadRequest, attempt
from .failure import Failure

MAX_INFLATED = 64 << 20
MAX_RESULT = 4096  # what Kubernetes keeps of a termination message

# The site's own SiteLogStreamer sends its copy to the same place once its launcher has noticed the pod's end, within
# 2 to 4 s of it, and the server keeps what comes last. A pod of ours hardly sends earlier than that; so much later
# nothing is to come.
SETTLING = 5.0
_VISITS = 5  # the site sends once or twice for a job; more would be somebody who does nothing else

_PIECE = 1 << 20
_LONGEST_WAIT = 30.0
_ATTEMPT_SECONDS = 90.0
_SLOWEST_BYTES_PER_SECOND = 128 << 10  # an attempt gets so much longer for a large log

logger = logging.getLogger(__name__)
_chatter = logging.getLogger(f"{__name__}.nvflare")


@dataclass(frozen=True)
class UploadOptions:
    """What to bring where.

    Attributes
    ----------
    log
        The captured error log, gzip.
    kit
        The flat folder of the courier's kit; it may fill later.
    server
        HOST:PORT instead of the kit's own.
    retry_for
        Seconds after which a failed attempt is not repeated.
    result_file
        Where a short JSON result is written for the controller, such as /dev/termination-log.
    settling
        Seconds after which one more attempt is made.
    """

    log: Path
    kit: Path
    job_id: str
    client_name: str
    server: str | None = None
    retry_for: float = 45 * 60
    result_file: Path | None = None
    settling: float = SETTLING


@dataclass(frozen=True)
class Outcome:
    """How it ended."""

    exit_code: int
    reason: Reason
    message: str
    size: int = 0
    verified: bool = False


class _Terminated(Exception):  # noqa: N818 - no error: the pod is to end
    pass


class _Hung(Exception):  # noqa: N818 - becomes an outcome
    pass


def run(options: UploadOptions) -> int:
    """Upload, write the result, and give the exit code. To be called from a process's main thread.

    NVFlare leaves threads, some of which wait for a network that will not answer; Python would wait for them at its
    end, even for an executor's daemons, and the pod with it. So where any is left, the process ends here.
    """
    outcome = _outcome(options)
    level = logging.INFO if outcome.exit_code == EXIT_DELIVERED else logging.ERROR
    logger.log(level, "%s: %s", outcome.reason.value, outcome.message)
    if options.result_file:
        _write_result(options.result_file, outcome)
    if threading.active_count() > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(outcome.exit_code)
    return outcome.exit_code


def _outcome(options: UploadOptions) -> Outcome:
    logging.getLogger("nvflare").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with tempfile.TemporaryDirectory(prefix="sitelog-upload-") as private, _nvflare_prints_to_log():
            outcome = _read_and_deliver(options, Path(private))
    except _Terminated:
        outcome = Outcome(EXIT_RETRY, Reason.UPLOAD_GAVE_UP, "told to end before the log was seen to be there to stay")
    except _Hung as error:
        outcome = Outcome(EXIT_RETRY, Reason.SERVER_UNREACHABLE, str(error))
    except Failure as failure:
        outcome = Outcome(EXIT_GIVE_UP if failure.final else EXIT_RETRY, failure.reason, str(failure))
    except Exception as error:  # a fault of ours or NVFlare's still needs a result, and may be a passing one
        logger.exception("the upload failed in a way that nobody foresaw")
        outcome = Outcome(EXIT_RETRY, Reason.UPLOAD_GAVE_UP, f"unforeseen: {type(error).__name__}: {error}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only the result is left to write
    return outcome


def _read_and_deliver(options: UploadOptions, private: Path) -> Outcome:
    log = private / LOG_NAME
    size = _inflate(options.log, log)
    if not size:
        return Outcome(EXIT_DELIVERED, Reason.NOTHING_TO_UPLOAD, f"the error log of job {options.job_id} is empty")
    return _deliver(UploadRequest(log, options.job_id, options.client_name, options.kit, options.server), size, options)


def _deliver(request: UploadRequest, size: int, options: UploadOptions) -> Outcome:
    """Try until an attempt finds the log there that comes a settling time after the one before."""
    what = f"the error log of job {request.job_id} and client {request.client_name} ({size} bytes)"
    give_up_at = time.monotonic() + options.retry_for
    sent = 0
    for number in range(_VISITS):
        if number:
            time.sleep(options.settling)
        last = _retried(request, size, give_up_at - time.monotonic())
        sent += last.sent
        if number and not last.verified:
            message = f"{last.server} took {what}; {last.participant!r} may not look whether it is stored"
            return Outcome(EXIT_DELIVERED, Reason.UPLOADED_UNVERIFIED, message, size)
        if number and not last.sent:
            message = f"{last.server} stored {what}" if sent else f"{last.server} has {what} already"
            message += f"; sent {sent} times, since another upload had written over it" if sent > 1 else ""
            return Outcome(EXIT_DELIVERED, Reason.UPLOADED, message, size, verified=True)
    raise Failure(Reason.NOT_STORED, f"another upload wrote over {what} again and again: it was sent {sent} times")


def _retried(request: UploadRequest, size: int, retry_for: float) -> DeliveryAttempt:
    """Attempt the delivery; again and again while that fails and may yet succeed."""
    seconds = _ATTEMPT_SECONDS + size / _SLOWEST_BYTES_PER_SECOND
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Failure) and not error.final),
        wait=tenacity.wait_exponential_jitter(initial=1, max=_LONGEST_WAIT, jitter=1),
        stop=tenacity.stop_before_delay(retry_for),
        before_sleep=_say_attempt,
        reraise=True,
    )
    return retrying(lambda: _bounded(lambda: attempt(request), seconds))


def _inflate(compressed: Path, to: Path) -> int:
    """Write the gzip file's content to `to` and give its size."""
    size = 0
    try:
        with gzip.open(compressed) as source, to.open("wb") as sink:
            while piece := source.read(_PIECE):
                size += len(piece)
                if size > MAX_INFLATED:
                    raise Failure(Reason.LOG_UNREADABLE, f"the log is larger than {MAX_INFLATED >> 20} MiB", final=True)
                sink.write(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise Failure(Reason.LOG_UNREADABLE, f"{compressed} cannot be read as gzip: {error}", final=True) from error
    return size


def _bounded(attempt: Callable[[], DeliveryAttempt], seconds: float) -> DeliveryAttempt:
    """Run one attempt for so long at most.

    One that hangs is the last in this process: its threads may still write to the server's one staging file for
    this job and client. Another pod begins afresh.
    """
    ends: queue.SimpleQueue[DeliveryAttempt | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            ends.put(attempt())
        except BaseException as error:  # noqa: BLE001 - raised again, where somebody waits for it
            ends.put(error)

    threading.Thread(target=work, daemon=True, name="attempt").start()
    try:
        end = ends.get(timeout=seconds)
    except queue.Empty:
        raise _Hung(f"the attempt had not ended after {seconds:.0f} s") from None
    if isinstance(end, BaseException):
        raise end
    return end


def _say_attempt(state: tenacity.RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, Failure) and state.next_action:
        logger.warning(
            "attempt %d: %s: %s; next in %.0f s",
            state.attempt_number,
            failure.reason.value,
            failure,
            state.next_action.sleep,
        )


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise _Terminated


def _write_result(path: Path, outcome: Outcome) -> None:
    """Write the result in one go: a termination log is a mounted file and cannot be replaced by renaming."""
    message = outcome.message
    while len(text := _as_json(outcome, message)) > MAX_RESULT:
        message = message[: len(message) // 2]
    try:
        path.write_bytes(text)
    except OSError as error:
        logger.warning("the result cannot be written to %s: %s", path, error)


def _as_json(outcome: Outcome, message: str) -> bytes:
    return json.dumps(
        {"reason": outcome.reason.value, "message": message, "bytes": outcome.size, "verified": outcome.verified}
    ).encode()


class _ToLog(io.TextIOBase):
    """Takes what NVFlare prints."""

    def write(self, text: str) -> int:
        if text.strip():
            _chatter.debug("%s", text.rstrip())
        return len(text)


@contextlib.contextmanager
def _nvflare_prints_to_log() -> Iterator[None]:
    """NVFlare prints greetings and tracebacks, past its own logging."""
    with contextlib.redirect_stdout(_ToLog()), contextlib.redirect_stderr(_ToLog()):
        yield
