"""Who a job pod is: the FL job and the FL client on its command line, and whether it may speak for that client."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sitelog.core.names import Reason
from sitelog.core.policy.effective import EffectivePolicy

from .command_line import CommandError, worker_options

# Kubernetes replaces $(NAME) in each argument of a command line, and $$ by $: what runs is not what stands there.
_EXPANDED: Final = re.compile(r"\$[($]")
# The server keeps a log by the last part of the path that a job id is, and takes any name.
_JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")

_LONGEST_SHOWN: Final = 80


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


def parse_identity(argv: Sequence[str]) -> Identity:
    """Read job and client off the command line that NVFlare's launcher writes (`-n JOB -c CLIENT`).

    They are read as NVFlare's own worker_process reads them: the job it will be is the job it says it is.

    Raises
    ------
    IdentityError
        One of them is missing, or Kubernetes would start another command line. There is never a default.
    """
    if any(_EXPANDED.search(argument) for argument in argv):
        message = "Kubernetes would put other values in for $(...) and $$ on its command line, which may be anybody's"
        raise IdentityError(Reason.COMMAND_UNSUPPORTED, f"{message}; start it by NVFlare's launcher")
    try:
        options = worker_options(argv)
    except CommandError as error:
        message = f"its command line is not one of NVFlare's ({error}); start it by NVFlare's launcher"
        raise IdentityError(Reason.JOB_ID_MISSING, message) from None
    if not options.job_id:
        message = "its command line has no job id (-n); start it by NVFlare's launcher"
        raise IdentityError(Reason.JOB_ID_MISSING, message)
    if not options.client_name:
        message = "its command line has no client name (-c); start it by NVFlare's launcher"
        raise IdentityError(Reason.CLIENT_NAME_MISSING, message)
    return Identity(options.job_id, options.client_name)


def check_identity(identity: Identity, effective: EffectivePolicy) -> None:
    """Check that this namespace may speak for the client, and that the job is one by its name.

    Names are compared as they are, letter by letter: what looks alike is another client.

    Raises
    ------
    IdentityError
        No policy in force names a client, one names another, or the job id is none of NVFlare's.
    """
    names = effective.client_names
    if not names:
        message = "no policy in force has spec.clientName; set it to the FL client that this namespace speaks for"
        raise IdentityError(Reason.CLIENT_NAME_UNSET, message)
    for name in names:
        if name != identity.client_name:
            message = f"it says it is client {_shown(identity.client_name)}, but spec.clientName is {_shown(name)}"
            raise IdentityError(Reason.CLIENT_NAME_MISMATCH, message)
    if not _JOB_ID.fullmatch(identity.job_id):
        message = f"its job id {_shown(identity.job_id)} is none of NVFlare's: letters, digits, '.', '_' and '-'"
        raise IdentityError(Reason.JOB_ID_INVALID, message)


def _shown(name: str) -> str:
    """Show a name so that nothing in it passes for something else."""
    return ascii(name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}...")
