"""Who a job pod is: the FL job and the FL client on its command line, and whether it may speak for that client."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from .names import WORKER_MODULE, Reason
from .policy import InForce


class IdentityError(Exception):
    """The pod's identity is missing or not its own. The message names what is wrong and the next step."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Identity:
    """The FL job and client that a pod works for, as raw as its command line has them."""

    job_id: str
    client_name: str


def is_job_command(argv: Sequence[str]) -> bool:
    """Whether a container with this command line runs NVFlare's job process."""
    return any(WORKER_MODULE in word for word in argv)


def parse_identity(argv: Sequence[str]) -> Identity:
    """Read job and client off the command line that NVFlare's launcher writes (`-n JOB -c CLIENT`).

    Only words after the module count, since `-m` and the like mean other things to the interpreter. They are read as
    NVFlare's own worker_process reads them: the job it will be is the job it says it is.

    Raises
    ------
    IdentityError
        One of them is missing. There is never a default.
    """
    words = list(argv)
    start = next((index for index, word in enumerate(words) if word == WORKER_MODULE), len(words))
    try:
        options, _ = _WORKER_OPTIONS.parse_known_args(words[start + 1 :])
    except _UsageError as error:
        message = f"its command line is not one of NVFlare's ({error}); start it by NVFlare's launcher"
        raise IdentityError(Reason.JOB_ID_MISSING, message) from None
    if not options.job_id:
        raise IdentityError(
            Reason.JOB_ID_MISSING, "its command line has no job id (-n); start it by NVFlare's launcher"
        )
    if not options.client_name:
        message = "its command line has no client name (-c); start it by NVFlare's launcher"
        raise IdentityError(Reason.CLIENT_NAME_MISSING, message)
    return Identity(options.job_id, options.client_name)


def check_identity(identity: Identity, force: InForce) -> None:
    """Check that this namespace may speak for the client.

    Raises
    ------
    IdentityError
        No policy in force names a client, or one names another.
    """
    names = force.client_names
    if not names:
        message = "no policy in force has spec.clientName; set it to the FL client that this namespace speaks for"
        raise IdentityError(Reason.CLIENT_NAME_UNSET, message)
    for name in names:
        if name != identity.client_name:
            message = f"it says it is client '{identity.client_name}', but spec.clientName is '{name}'"
            raise IdentityError(Reason.CLIENT_NAME_MISMATCH, message)


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)


def _worker_options() -> argparse.ArgumentParser:
    """Build the parser of nvflare/private/fed/app/client/worker_process.py, with nothing required."""
    parser = _Parser(add_help=False)
    for long, short in (
        ("--workspace", "-m"),
        ("--startup", "-w"),
        ("--token", "-t"),
        ("--token_signature", "-ts"),
        ("--ssid", "-d"),
        ("--job_id", "-n"),
        ("--client_name", "-c"),
        ("--sp_target", "-g"),
        ("--sp_scheme", "-scheme"),
        ("--parent_url", "-p"),
        ("--parent_conn_sec", None),
        ("--fed_client", "-s"),
        ("--local_rank", None),
    ):
        parser.add_argument(*filter(None, (long, short)))
    parser.add_argument("--set", nargs="*")
    return parser


_WORKER_OPTIONS: Final = _worker_options()
