"""The command line of NVFlare's job process: what it says, and the word that keeps its log streamers still.

The options are those of `nvflare/private/fed/app/client/worker_process.py`, read by the same parser, so that whatever
form NVFlare takes is understood.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from .names import FORBIDDING_WORD, WORKER_MODULE

_SET: Final = "--set"
_EXPANDED: Final = "$"  # Kubernetes replaces $(NAME) in a container's words by its environment


class CommandError(Exception):
    """A command line that NVFlare's job process would not take, or that cannot be followed."""


@dataclass(frozen=True)
class WorkerOptions:
    """What matters of a command line: the job, the client, the workspace, and the words after the last `--set`."""

    job_id: str
    client_name: str
    workspace: str
    words: tuple[str, ...]


def is_job_command(argv: Sequence[str]) -> bool:
    """Whether a container with this command line runs NVFlare's job process, by itself or through a shell."""
    return any(WORKER_MODULE in word for word in argv)


def worker_options(argv: Sequence[str]) -> WorkerOptions:
    """Read the options. Only words after the module count: before it `-m` and the like are the interpreter's.

    Raises
    ------
    CommandError
        NVFlare's parser refuses them, or the process is started through a shell's own text.
    """
    words = list(argv)
    if WORKER_MODULE not in words or any(WORKER_MODULE in word and word != WORKER_MODULE for word in words):
        raise CommandError("the module is no word of its own")
    options, _ = _PARSER.parse_known_args(words[words.index(WORKER_MODULE) + 1 :])
    return WorkerOptions(
        options.job_id or "", options.client_name or "", options.workspace or "", tuple(options.set or ())
    )


def forbid_streaming(command: Sequence[str], args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Make `allow_log_streaming=false` the last word of the last `--set`: then no JobLogStreamer starts.

    Parameters
    ----------
    command, args : of a container that runs the job process.

    Returns
    -------
    The same two with the word; as they are if they have it.

    Raises
    ------
    CommandError
        It cannot be put there.
    """
    argv = [*command, *args]
    words = worker_options(argv).words
    if any("\n" in word for word in argv):
        raise CommandError("it has a word of several lines")
    if any(_EXPANDED in word for word in words):
        raise CommandError("Kubernetes would put another word in for $(...) after --set")
    if any(word.startswith("-") for word in words):
        raise CommandError("a word after --set begins with -")
    if has_forbidding_word(argv):
        return list(command), list(args)
    more = [FORBIDDING_WORD] if _ends_in_set(argv) else [_SET, *words, FORBIDDING_WORD]
    return (list(command), [*args, *more]) if args else ([*command, *more], [])


def may_stream(argv: Sequence[str]) -> bool:
    """Whether a container with this command line runs a job process that nothing keeps from streaming."""
    if not is_job_command(argv):
        return False
    try:
        return forbid_streaming(argv, ()) != (list(argv), [])
    except CommandError:
        return True


def has_forbidding_word(argv: Sequence[str]) -> bool:
    """Whether the word stands where it counts: at the very end, and after `--set`, as the chart's kill switch asks."""
    return bool(argv) and argv[-1] == FORBIDDING_WORD and _ends_in_set(argv)


def _ends_in_set(argv: Sequence[str]) -> bool:
    """Whether nothing but plain words follows the last `--set`: no option, and none that Kubernetes puts in."""
    if _SET not in argv:
        return False
    last = len(argv) - 1 - list(reversed(argv)).index(_SET)
    return not any(word.startswith("-") or _EXPANDED in word for word in argv[last + 1 :])


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
