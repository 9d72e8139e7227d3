"""The command line of NVFlare's job process: what it says, and the argument that keeps its log streamers still.

The options are those of `nvflare/private/fed/app/client/worker_process.py`, read by the same parser, so that whatever
form NVFlare takes is understood.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from sitelog.core.names import FORBIDDING_ARGUMENT, WORKER_MODULE

from .patterns import HOLDS_JOB, STARTS_JOB

_SET: Final = "--set"
_EXPANDED: Final = "$"  # Kubernetes replaces $(NAME) in a container's arguments by its environment
_STARTS_JOB: Final = re.compile(STARTS_JOB)
_HOLDS_JOB: Final = re.compile(HOLDS_JOB)


class CommandError(Exception):
    """A command line that NVFlare's job process would not take, or that cannot be followed."""


@dataclass(frozen=True)
class WorkerOptions:
    """What matters of a command line: the job, the client, the workspace, and the values of the last `--set`."""

    job_id: str
    client_name: str
    workspace: str
    set_values: tuple[str, ...]


def is_job_command(argv: Sequence[str]) -> bool:
    """Whether a container with this command line runs NVFlare's job process, by itself or through a shell."""
    return any(WORKER_MODULE in argument for argument in argv)


def lines(texts: Iterable[str]) -> str:
    """Give texts as the patterns are matched against them: each ends in a newline, and has no other."""
    return "".join(text.replace("\n", " ") + "\n" for text in texts)


def worker_options(argv: Sequence[str]) -> WorkerOptions:
    """Read the options. Only arguments after the module count: before it `-m` and the like are the interpreter's.

    Raises
    ------
    CommandError
        NVFlare's parser refuses them, or the process is started through a shell's own text.
    """
    arguments = list(argv)
    named = {argument for argument in arguments if WORKER_MODULE in argument}
    if named != {WORKER_MODULE}:
        raise CommandError("the module is no argument of its own")
    options, _ = _PARSER.parse_known_args(arguments[arguments.index(WORKER_MODULE) + 1 :])
    return WorkerOptions(
        options.job_id or "", options.client_name or "", options.workspace or "", tuple(options.set or ())
    )


def forbid_streaming(command: Sequence[str], args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Make `allow_log_streaming=false` the last value of the last `--set`: then no JobLogStreamer starts.

    Parameters
    ----------
    command, args : of a container that runs the job process.

    Returns
    -------
    The same two with the value; as they are if they have it.

    Raises
    ------
    CommandError
        It cannot be put there.
    """
    argv = [*command, *args]
    if not _STARTS_JOB.match(lines(argv)):
        raise CommandError(f"more than python, its plain options and -m stand before {WORKER_MODULE}")
    if has_forbidding_argument(argv):
        return list(command), list(args)
    values = worker_options(argv).set_values
    if any(_EXPANDED in value for value in values):
        raise CommandError("Kubernetes would put another value in for $(...) after --set")
    if any(value.startswith("-") for value in values):
        raise CommandError("a value after --set begins with -")
    more = [FORBIDDING_ARGUMENT] if _ends_in_set(argv) else [_SET, *values, FORBIDDING_ARGUMENT]
    return (list(command), [*args, *more]) if args else ([*command, *more], [])


def has_forbidding_argument(argv: Sequence[str]) -> bool:
    """Whether the argument stands where it counts: at the very end and after `--set`, as the API server asks."""
    return bool(_HOLDS_JOB.fullmatch(lines(argv)))


def _ends_in_set(argv: Sequence[str]) -> bool:
    """Whether nothing but plain values follows the last `--set`: no option, and none that Kubernetes puts in."""
    if _SET not in argv:
        return False
    last = len(argv) - 1 - list(reversed(argv)).index(_SET)
    return not any(value.startswith("-") or _EXPANDED in value for value in argv[last + 1 :])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def _parser() -> argparse.ArgumentParser:
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
    parser.add_argument(_SET, nargs="*")
    return parser


_PARSER: Final = _parser()
