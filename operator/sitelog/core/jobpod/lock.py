"""The second lock: every container of a pod that runs a job is kept from streaming, or the pod is not let in.

The argument is what NVFlare's ConfigService reads first, but a configuration can make the process forget it. The
variable is what it reads last, and what nothing in the process forgets.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from sitelog.core.names import FORBIDDING_VALUE, FORBIDDING_VARIABLE

from .command_line import CommandError, forbid_streaming, lines
from .container import Container, Variable, is_too_large
from .patterns import HIDES_MODULE, HIDES_PROGRAM, NAMES_JOB

_NAMES_JOB: Final = re.compile(NAMES_JOB)
_NAMES_JOB_OR_HIDES_IT: Final = re.compile(f"{NAMES_JOB}|{HIDES_MODULE}")
_HIDES_PROGRAM: Final = re.compile(HIDES_PROGRAM)


def hold_pod(containers: Sequence[Container]) -> tuple[Container, ...]:
    """Give the containers of a pod so that none of them streams a job's log; as they are, if none does.

    Raises
    ------
    CommandError
        One of them cannot be kept from it. The message names the container and the cause.
    """
    if is_too_large(containers):
        raise CommandError("it is too large to be checked")
    return tuple(_hold(container) for container in containers)


def may_stream(containers: Iterable[Container]) -> bool:
    """Whether a running pod names NVFlare's job process somewhere and nothing keeps that from streaming.

    It may be deleted for it. So what a variable hides does not count, and neither does a program of another package
    that is called worker_process, too.
    """
    return any(_names_job(container) and not _is_held(container) for container in containers)


def is_forbidding_variable(name: str) -> bool:
    """Whether a variable is the one that NVFlare reads, in whatever case: some systems do not tell them apart."""
    return name.upper() == FORBIDDING_VARIABLE


def runs_job(container: Container) -> bool:
    """Whether a container names the job process somewhere, or hides what it runs."""
    if _NAMES_JOB_OR_HIDES_IT.search(lines(container.texts)):
        return True
    return any(_HIDES_PROGRAM.search(lines(argv)) for argv in (container.argv, *container.hooks))


def _hold(container: Container) -> Container:
    if not runs_job(container):
        return container
    try:
        return _held(container)
    except CommandError as error:
        raise CommandError(f"container {container.name}: {error}") from None


def _held(container: Container) -> Container:
    beside = replace(container, command=(), args=())
    if runs_job(beside):
        raise CommandError("a hook, a probe, its environment or its working directory names or hides the job process")
    command, args = forbid_streaming(container.command, container.args)
    environment = container.environment
    if not _is_forbidden_by(environment):
        kept = (variable for variable in environment if not is_forbidding_variable(variable.name))
        environment = (*kept, Variable(FORBIDDING_VARIABLE, FORBIDDING_VALUE))
    return replace(container, command=tuple(command), args=tuple(args), environment=environment)


def _is_held(container: Container) -> bool:
    try:
        return _held(container) == container
    except CommandError:
        return False


def _is_forbidden_by(environment: Sequence[Variable]) -> bool:
    """Whether the variable is there, and no other one of its name."""
    named = [variable for variable in environment if is_forbidding_variable(variable.name)]
    return bool(named) and all(one == Variable(FORBIDDING_VARIABLE, FORBIDDING_VALUE) for one in named)


def _names_job(container: Container) -> bool:
    text = lines(container.texts)
    return "nvflare" in text and bool(_NAMES_JOB.search(text))
