"""Who a job pod is: read off its command line as NVFlare's own job process reads it."""

import argparse
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.private.fed.app.client import worker_process

from sitelog.core.jobpod.command_line import is_job_command
from sitelog.core.jobpod.identity import Identity, IdentityError, check_identity, parse_identity
from sitelog.core.names import WORKER_MODULE, Reason
from sitelog.core.policy.effective import EffectivePolicy
from sitelog.core.policy.policy import Policy
from sitelog.kube.pods import parse_job_pod
from support.inputs.hypothesis_profiles import at_least
from support.pods import recorded
from support.pods.launched_pod import launched_pod

HEAD = ("/usr/local/bin/python3", "-u", "-m", WORKER_MODULE)
JOB = "c754e82b-5b77-466e-a93d-51fd791024a7"


def theirs(argv: list[str]) -> Identity | None:
    """Ask NVFlare's own job process who it is; None: it ends with a usage error, or it is nobody."""
    credentials = dict.fromkeys(worker_process.pop_credential_env(), "given")
    required = ["-m=ws", "-w=startup", "-g=server:1", "-scheme=http", "-p=parent", "-s=fed_client.json"]
    with (
        mock.patch.object(worker_process, "pop_credential_env", return_value=credentials),
        mock.patch.object(sys, "argv", ["worker_process", *required, *argv]),
        mock.patch.object(argparse.ArgumentParser, "_print_message"),
    ):
        try:
            options = worker_process.parse_arguments()
        except SystemExit:
            return None
    return Identity(options.job_id, options.client_name) if options.job_id and options.client_name else None


def ours(argv: list[str]) -> Identity | None:
    try:
        return parse_identity([*HEAD, *argv])
    except IdentityError:
        return None


words = st.sampled_from(
    [
        "-n",
        "-c",
        "-n=j",
        "-nj",
        "-cs",
        "-c=s",
        "--job_id",
        "--job_id=j2",
        "--job",
        "--client_name",
        "--client_name=s2",
        "--client=s3",
        "--cl",
        "--set",
        "secure_train=true",
        "job",
        "site-1",
        "-ts",
        "-t",
        "-scheme",
        "-sc=x",
        "-s",
        "--",
        "-",
        "",
        "-5",
        "two words",
        "-m",
        "--local_rank",
        "3",
        "-d=x",
    ]
)


names = st.sampled_from(["-n=j", "-nj", "-c=s", "-cs", "--job_id=j2", "--client=s3", "--client_name=s2"])


def test_a_command_line_is_read_as_nvflare_reads_it() -> None:
    seen: list[bool] = []

    @at_least(1500)
    @given(st.lists(st.one_of(words, names), max_size=6))
    def compare(argv: list[str]) -> None:
        known = theirs(argv)
        seen.append(known is not None)
        # NVFlare ends with an error for a word that it does not know: that pod is no job, and writes no log.
        if known is not None:
            assert ours(argv) == known

    compare()
    assert seen.count(True) > 50


raw = st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1, max_size=60)  # $: see forged identities


@given(raw, raw)
def test_raw_values_are_kept(job: str, client: str) -> None:
    assert ours([f"--job_id={job}", f"--client_name={client}"]) == Identity(job, client)


@pytest.mark.parametrize("case", recorded.CASES)
def test_every_recorded_pod_says_who_it_is(case: str) -> None:
    pod = recorded.pods(case)[0][1]
    identity = parse_identity(pod.argv)
    assert identity.client_name == "site-1"
    assert identity.job_id.partition("-")[0] in pod.name


@pytest.mark.parametrize("client", ["site-1", "Klinikum Süd", "a b"])
@pytest.mark.parametrize("job", [JOB, "1" + JOB[1:]])
def test_a_pod_of_nvflares_launcher_says_who_it_is(tmp_path: Path, job: str, client: str) -> None:
    body = launched_pod(tmp_path, job, client)
    pod = parse_job_pod(body)
    assert pod is not None
    assert pod.container == body["spec"]["containers"][0]["name"]
    assert parse_identity(pod.argv) == Identity(job, client)


BAD = {
    "no job": ([*HEAD, "-c", "site-1"], Reason.JOB_ID_MISSING, "no job id (-n)"),
    "empty job": ([*HEAD, "-n", "", "-c", "site-1"], Reason.JOB_ID_MISSING, "no job id (-n)"),
    "no client": ([*HEAD, "-n", JOB], Reason.CLIENT_NAME_MISSING, "no client name (-c)"),
    "option without value": ([*HEAD, "-c", "site-1", "-n"], Reason.JOB_ID_MISSING, "not one of NVFlare's"),
    "before the module": (["python", "-n", JOB, "-c", "x", "-m", WORKER_MODULE], Reason.JOB_ID_MISSING, "no job id"),
    "in a shell": (
        ["sh", "-c", f"python -m {WORKER_MODULE} -n {JOB} -c s"],
        Reason.JOB_ID_MISSING,
        "no argument of its own",
    ),
    "nothing": ([], Reason.JOB_ID_MISSING, "start it by NVFlare's launcher"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_command_line_that_does_not_say_it(name: str) -> None:
    argv, reason, part = BAD[name]
    with pytest.raises(IdentityError, match="start it by NVFlare's launcher") as refusal:
        parse_identity(argv)
    assert refusal.value.reason is reason
    assert part in str(refusal.value)


def test_only_job_processes_are_job_pods() -> None:
    assert is_job_command(["sh", "-c", f"exec python -m {WORKER_MODULE}"])
    assert not is_job_command(["python", "-m", "nvflare.private.fed.app.client.client_train"])
    assert not is_job_command([])


def test_a_pod_speaks_for_the_client_of_its_namespace_only() -> None:
    me = Identity(JOB, "site-1")
    check_identity(me, EffectivePolicy((Policy("fl", "a", client_name="site-1"), Policy("fl", "b"))))
    for policies, reason, part in (
        ((), Reason.CLIENT_NAME_UNSET, "set it to the FL client"),
        ((Policy("fl", "a"),), Reason.CLIENT_NAME_UNSET, "set it to the FL client"),
        ((Policy("fl", "a", client_name="site-2"),), Reason.CLIENT_NAME_MISMATCH, "'site-1'"),
        (
            (Policy("fl", "a", client_name="site-1"), Policy("fl", "b", client_name="Site-1")),
            Reason.CLIENT_NAME_MISMATCH,
            "'Site-1'",
        ),
    ):
        with pytest.raises(IdentityError) as refusal:
            check_identity(me, EffectivePolicy(policies))
        assert refusal.value.reason is reason
        assert part in str(refusal.value)
