"""What in a pod runs a job, and what keeps that from streaming, without a cluster."""

from dataclasses import replace

import pytest

from sitelog.core.jobpod.command_line import CommandError
from sitelog.core.jobpod.container import MAX_CHARACTERS, MAX_CONTAINERS, MAX_TEXTS, Container, Variable
from sitelog.core.jobpod.lock import hold_pod, may_stream, runs_job
from sitelog.core.names import CLIENT_MODULE, FORBIDDING_ARGUMENT, FORBIDDING_VALUE, FORBIDDING_VARIABLE, WORKER_MODULE

VARIABLE = Variable(FORBIDDING_VARIABLE, FORBIDDING_VALUE)
JOB = Container("job", ("python3",), ("-u", "-m", WORKER_MODULE, "-n", "job", "-c", "site-1", "--set", "a=b"))
HELD = replace(JOB, args=(*JOB.args, FORBIDDING_ARGUMENT), environment=(VARIABLE,))
IDLE = Container("idle", ("sleep", "1"), environment=(Variable("A", "b"),))


def test_a_job_gets_word_and_variable_once() -> None:
    assert hold_pod([IDLE, JOB]) == (IDLE, HELD)
    assert hold_pod([IDLE, HELD]) == (IDLE, HELD)
    assert may_stream([IDLE, JOB])
    assert not may_stream([IDLE, HELD])


@pytest.mark.parametrize(
    "others",
    [
        [Variable(FORBIDDING_VARIABLE, "true")],
        [VARIABLE, Variable(FORBIDDING_VARIABLE, "true")],
        [VARIABLE, Variable(FORBIDDING_VARIABLE)],
        [Variable(FORBIDDING_VARIABLE.lower(), FORBIDDING_VALUE)],
        [Variable(FORBIDDING_VARIABLE, "False")],
    ],
    ids=["true", "a later one", "from elsewhere", "another case", "another spelling"],
)
def test_no_other_variable_of_the_name_stays(others: list[Variable]) -> None:
    container = replace(HELD, environment=(Variable("A", "b"), *others))
    assert may_stream([container])
    assert hold_pod([container]) == (replace(HELD, environment=(Variable("A", "b"), VARIABLE)),)


@pytest.mark.parametrize(
    "changes",
    [
        {"hooks": (("python3", "-m", WORKER_MODULE),)},
        {"hooks": (("sh", "-c", "exec python3 /lib/nvflare/private/fed/app/client/worker_process.py"),)},
        {"environment": (VARIABLE, Variable("M", WORKER_MODULE))},
        {"directory": "/lib/nvflare/private/fed/app/client"},
    ],
    ids=["hook", "file", "variable", "folder"],
)
def test_what_names_the_job_beside_a_command_line_is_refused(changes: dict[str, object]) -> None:
    for container in (replace(HELD, **changes), replace(IDLE, **changes)):  # type: ignore[arg-type]
        assert may_stream([container])
        with pytest.raises(CommandError, match=f"container {container.name}: "):
            hold_pod([container])


@pytest.mark.parametrize(
    "argv",
    [
        ("python3", "-m", "$(M)"),
        ("python3", "-W", "ignore", "-m", "a$(M)"),
        ("/usr/bin/python3.11", "$(FILE)"),
        ("python3", "-c", "$(CODE)"),
        ("nice", "python3", "$(FILE)"),
        ("env", "NVFLARE_ALLOW_LOG_STREAMING=true", "/usr/bin/python3", "-u", "$(FILE)"),
        ("env", "python3", "$(A)$(B)$(C)"),
        ("pypy3", "-m", "$(M)"),
        ("python3-dbg", "-m", "$(M)"),
        ("python3.13t", "$(FILE)"),
        ("-m", "$(M)"),
        ("-um", "$(M)"),
        ("-u", "$(A)$(B)"),
        ("-X", "dev", "-m$(M)"),
        ("$(PROGRAM)", "x"),
        ("sh", "-c", 'exec python3 -u -m "$0" "$@"'),
        ("sh", "-c", "python -X dev -um `cat module`"),
    ],
)
def test_what_hides_what_it_runs_is_refused_when_new_and_left_when_running(argv: tuple[str, ...]) -> None:
    container = replace(IDLE, command=argv)
    assert runs_job(container)
    with pytest.raises(CommandError):
        hold_pod([container])
    assert not may_stream([container])
    assert runs_job(replace(IDLE, hooks=((), argv)))


def test_a_running_program_of_another_package_is_no_job_although_a_new_one_is_refused() -> None:
    container = replace(IDLE, command=("python3", "manage.py", "worker_process"))
    assert not may_stream([container])
    with pytest.raises(CommandError):
        hold_pod([container])


@pytest.mark.parametrize(
    "argv",
    [
        ("python3", "-m", CLIENT_MODULE, "-m", "$(WORKSPACE)"),
        ("python3", "/lib/nvflare/private/fed/app/client/client_train.py", "$(X)"),
        ("python3", "app.py", "$(X)"),
        ("sh", "-c", "python3 $SCRIPT"),
        ("sh", "-c", "apt-get install python3 $MORE; git commit -m $TEXT"),
        ("nginx", "-g", "worker_processes 4;"),
        ("echo", "$(X)"),
        ("-config", "$(X)"),
        ("--port", "$(X)"),
        ("/bin/tool", "python", "x", "$(X)"),
        (),
    ],
)
def test_what_runs_no_job_is_left_alone(argv: tuple[str, ...]) -> None:
    container = replace(IDLE, command=argv)
    assert not runs_job(container)
    assert hold_pod([container]) == (container,)


def test_what_is_too_large_is_not_looked_at() -> None:
    most = [replace(IDLE, environment=(), directory="", command=("x",) * (MAX_TEXTS - 1))]
    assert hold_pod(most)
    for containers in (
        [replace(most[0], command=("x",) * MAX_TEXTS)],
        [replace(IDLE, command=("x" * MAX_CHARACTERS,))],
        [IDLE] * (MAX_CONTAINERS + 1),
        [replace(JOB, args=(*JOB.args, *("x",) * MAX_TEXTS))],
    ):
        with pytest.raises(CommandError, match="too large"):
            hold_pod(containers)
