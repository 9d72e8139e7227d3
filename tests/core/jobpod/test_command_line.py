"""The second lock's word on a command line, judged by NVFlare's own parser and configuration service."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.fl_constant import SystemConfigs
from nvflare.app_common.logging.constants import is_log_streaming_allowed
from nvflare.fuel.utils.argument_utils import parse_vars
from nvflare.fuel.utils.config_service import ConfigService

from sitelog.core.jobpod.command_line import (
    CommandError,
    forbid_streaming,
    has_forbidding_argument,
    is_job_command,
    worker_options,
)
from sitelog.core.jobpod.container import Container, Variable
from sitelog.core.jobpod.lock import may_stream
from sitelog.core.names import FORBIDDING_ARGUMENT, FORBIDDING_VALUE, FORBIDDING_VARIABLE, WORKER_MODULE
from support.inputs.hypothesis_profiles import at_least
from support.pods import started
from support.pods.launched_pod import launched_pod

START = ["python3", "-u", "-m", WORKER_MODULE]
REQUIRED = ["-m", "ws", "-w", "ws/startup", "-t", "t", "-ts", "s", "-d", "d", "-n", "job", "-c", "site-1"]
REQUIRED += ["-g", "server:8002", "-scheme", "http", "-p", "stcp://site-1:8102", "-s", "fed_client.json"]
SET = ["--set", "secure_train=true", "uid=site-1"]
BEFORE = f"more than python, its plain options and -m stand before {WORKER_MODULE}"


def parsed(argv: Sequence[str]) -> argparse.Namespace | None:
    """What NVFlare's job process reads from its command line; None if it would not start."""
    return started.parsed(argv[list(argv).index(WORKER_MODULE) + 1 :], {})


def streams(options: argparse.Namespace) -> bool:
    """Whether a JobLogStreamer would start, were it not for the site's resources.json, which allows it."""
    resources = {"allow_log_streaming": True}
    ConfigService.reset()
    try:
        ConfigService.initialize({}, ["/"], parsed_args=options, var_dict=parse_vars(options.set))
        ConfigService.add_section(SystemConfigs.RESOURCES_CONF, resources)
        return bool(is_log_streaming_allowed())
    finally:
        ConfigService.reset()


def not_held(argv: Sequence[str]) -> bool:
    """Whether a container with this command line may stream, were it not for its environment."""
    return may_stream([Container("job", tuple(argv), environment=(Variable(FORBIDDING_VARIABLE, FORBIDDING_VALUE),))])


def others(options: argparse.Namespace) -> str:
    """Everything else that a command line says."""
    values = parse_vars(options.set)
    values.pop("allow_log_streaming", None)
    return repr(({**vars(options), "set": None}, values))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
words = st.one_of(
    st.sampled_from(
        [FORBIDDING_ARGUMENT, "allow_log_streaming=true", "allow_log_streaming", " allow_log_streaming =1"]
    ),
    st.sampled_from(["uid=site-1", "a=b=c", "a=-1", "a=0.5", "a=nan", "", "-1", "-x y=1", "--", "$(OPTION)", "a=\nb"]),
    texts,
    texts.map("allow_log_streaming={}".format),
)
options = st.one_of(
    st.lists(words, max_size=4).map(lambda found: ["--set", *found]),
    words.map(lambda word: [f"--set={word}"]),
    st.sampled_from([["--se", "a=b"], ["--se=a=b"], ["--local_rank", "3"], ["--loc=x"], ["--parent_conn_sec", "mtls"]]),
    st.sampled_from([["-njob-2"], ["--job=job-3"], ["-n", "job-4"], ["--client", "site-2"], ["-scheme=tcp"], ["-h"]]),
    words.map(lambda word: [word]),
    words.map(lambda word: ["-s", word]),
)


@st.composite
def containers(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Command and args of a job's container."""
    groups = [REQUIRED[at : at + 2] for at in range(0, len(REQUIRED), 2)]
    groups = draw(st.permutations([*groups, *draw(st.lists(options, max_size=5))]))
    argv = [*START, *(word for group in groups for word in group)]
    cut = draw(st.sampled_from([0, 1, len(START), len(argv)]))
    return argv[:cut], argv[cut:]


@at_least(500)
@given(containers())
def test_nvflare_reads_the_word_and_all_the_rest_as_before(container: tuple[list[str], list[str]]) -> None:
    argv = [*container[0], *container[1]]
    before = parsed(argv)
    try:
        command, args = forbid_streaming(*container)
    except CommandError:
        assert not_held(argv)
        return
    after = parsed([*command, *args])
    if before is None:  # NVFlare would not have started it; the word must not mend it into a streaming one
        assert after is None or not streams(after)
        return
    assert after is not None
    assert not streams(after)
    assert others(after) == others(before)
    options_read = worker_options([*command, *args])
    assert (options_read.job_id, options_read.client_name) == (after.job_id, after.client_name)
    assert forbid_streaming(command, args) == (command, args)
    assert not not_held([*command, *args])
    assert has_forbidding_argument([*command, *args])


@at_least(300)
@given(containers())
def test_what_is_held_to_have_the_word_does_not_stream(container: tuple[list[str], list[str]]) -> None:
    argv = [*container[0], *container[1], *SET, FORBIDDING_ARGUMENT]
    found = parsed(argv)
    if found is not None and not not_held(argv):
        assert not streams(found)


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        (["python3"], [*START[1:], *SET], [*START, *SET, FORBIDDING_ARGUMENT]),
        (START, [], [*START, "--set", FORBIDDING_ARGUMENT]),
        ([*START, *SET], [], [*START, *SET, FORBIDDING_ARGUMENT]),
        ([], [*START, *SET, "--local_rank", "0"], [*START, *SET, "--local_rank", "0", *SET, FORBIDDING_ARGUMENT]),
        (START, ["--set=a=b"], [*START, "--set=a=b", "--set", "a=b", FORBIDDING_ARGUMENT]),
        (START, ["--se", "a=b"], [*START, "--se", "a=b", "--set", "a=b", FORBIDDING_ARGUMENT]),
        (
            START,
            [*SET, FORBIDDING_ARGUMENT, "allow_log_streaming=true"],
            [*START, *SET, FORBIDDING_ARGUMENT, "allow_log_streaming=true", FORBIDDING_ARGUMENT],
        ),
        (START, [*SET, FORBIDDING_ARGUMENT], [*START, *SET, FORBIDDING_ARGUMENT]),
    ],
    ids=["launcher", "no set", "command", "options behind", "equals", "abbreviated", "overridden", "has it"],
)
def test_the_word_goes_where_it_counts(command: list[str], args: list[str], expected: list[str]) -> None:
    new_command, new_args = forbid_streaming(command, args)
    assert [*new_command, *new_args] == expected
    assert (new_command == command) or not args  # it goes where the container's own words end


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["sh", "-c", f"python3 -m {WORKER_MODULE} --set a=b"], BEFORE),
        (["sh", "-c", f"python3 -m {WORKER_MODULE}", WORKER_MODULE, *SET], BEFORE),
        ([f"python3 -m{WORKER_MODULE}", *SET], BEFORE),
        ([*START, *SET, "$(MORE)"], r"Kubernetes would put another value in for $(...) after --set"),
        ([*START, "--set=-x"], "a value after --set begins with -"),
        (
            ["sh", "-c", f"python3 -m {WORKER_MODULE}", WORKER_MODULE, "--set", FORBIDDING_ARGUMENT],
            BEFORE,
        ),
        ([*START, "-n"], "argument --job_id/-n: expected one argument"),
    ],
    ids=["shell", "shell and module", "glued", "environment", "dash", "shell with the word", "broken"],
)
def test_what_cannot_have_it_is_said(argv: list[str], why: str) -> None:
    with pytest.raises(CommandError) as error:
        forbid_streaming(argv, [])
    assert str(error.value) == why
    assert is_job_command(argv)
    assert not_held(argv)


def test_other_containers_cannot_stream() -> None:
    assert not not_held(["python3", "-m", "http.server"])
    assert not not_held([])


def test_the_launchers_own_pod(tmp_path: Path) -> None:
    (container,) = launched_pod(tmp_path, "4711", "site-1")["spec"]["containers"]
    command, args = forbid_streaming(container["command"], container["args"])
    assert (command, args) == (container["command"], [*container["args"], FORBIDDING_ARGUMENT])
    credentials = ["-t", "t", "-ts", "s", "-d", "d"]  # the pod has them in its environment
    before, after = (parsed([*START, *credentials, *words[3:]]) for words in (container["args"], args))
    assert before is not None
    assert after is not None
    assert streams(before)
    assert not streams(after)
    assert others(after) == others(before)
