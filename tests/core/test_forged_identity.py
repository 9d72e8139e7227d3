"""Pods that claim to be somebody else, in every way that a pod can: what the plan says, never another site's."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.errorlog.upload_plan import Plan, Skip, plan_upload
from sitelog.core.jobpod.identity import Identity, IdentityError, check_identity, parse_identity
from sitelog.core.jobpod.termination import End, Termination
from sitelog.core.names import WORKER_MODULE, Reason
from sitelog.core.policy.effective import EffectivePolicy
from sitelog.core.policy.policy import ErrorLog, Policy
from sitelog.kube.jobs import job_manifest, parse_upload_job
from sitelog.kube.pods import parse_job_pod
from support.inputs.hypothesis_profiles import at_least
from support.pods.job_pods import job_pod

ERROR_LOG = ErrorLog(upload=True, courier_secret_name="courier")
FORCE = EffectivePolicy((Policy("fl", "site", client_name="site-1", error_log=ERROR_LOG),))
HEAD = ["python3", "-u", "-m", WORKER_MODULE]
ME = Identity("job-1", "site-1")
LOOKS_ALIKE = "s\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}te-1"


def plan(body: Mapping[str, Any], force: EffectivePolicy = FORCE) -> Identity | Reason | None:
    """Whose log would be sent, or why none."""
    pod = parse_job_pod({**body, "metadata": {**body["metadata"], "namespace": "fl"}})
    assert pod is not None
    planned = plan_upload(pod, force)
    if isinstance(planned, Plan):
        return planned.identity
    return planned.reason if isinstance(planned, Skip) else None


def pod_with(
    *more: str, metadata: Mapping[str, Any] | None = None, others: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Give the launcher's pod of job-1 of site-1 with more words, and other containers by their kind."""
    body = job_pod("pod", "job-1")
    body["spec"]["containers"][0]["args"] += more
    body["metadata"] |= metadata or {}
    for kind, argv in (others or {}).items():
        body["spec"].setdefault(kind, []).append({"name": f"another-{kind}", "image": "i", "command": list(argv)})
    return body


def job_of(client: str, job: str) -> list[str]:
    return [*HEAD, "-n", job, "-c", client]


CASES: dict[str, tuple[dict[str, Any], Identity | Reason]] = {
    "as the launcher makes it": (pod_with(), ME),
    "labels": (pod_with(metadata={"labels": {"sitelog.dev/job": "job-2", "sitelog.dev/client": "site-2"}}), ME),
    "annotations": (
        pod_with(metadata={"annotations": {"sitelog.dev/job-id": "job-2", "sitelog.dev/client-name": "site-2"}}),
        ME,
    ),
    "the pod's name": (pod_with(metadata={"name": "site-2-job-2"}), ME),
    "-c again": (pod_with("-c", "site-2"), Reason.CLIENT_NAME_MISMATCH),
    "-c again, glued": (pod_with("-csite-2"), Reason.CLIENT_NAME_MISMATCH),
    "-c again, with =": (pod_with("-c=site-2"), Reason.CLIENT_NAME_MISMATCH),
    "--client_name": (pod_with("--client_name", "site-2"), Reason.CLIENT_NAME_MISMATCH),
    "--client, cut short": (pod_with("--cl=site-2"), Reason.CLIENT_NAME_MISMATCH),
    "two more": (pod_with("-c", "site-2", "-c", "site-1"), ME),
    "-n again": (pod_with("-n", "job-2"), Identity("job-2", "site-1")),  # the job that it is: see the threat model
    "-c without a name": (pod_with("-c"), Reason.JOB_ID_MISSING),
    "-c with an empty name": (pod_with("-c", ""), Reason.CLIENT_NAME_MISSING),
    "after --": (pod_with("--", "-c", "site-2"), ME),  # which NVFlare refuses
    "a client out of the environment": (pod_with("-c", "$(SITE)"), Reason.COMMAND_UNSUPPORTED),
    "a job out of the environment": (pod_with("-n", "$(JOB)"), Reason.COMMAND_UNSUPPORTED),
    "an option out of the environment": (pod_with("$(MORE)"), Reason.COMMAND_UNSUPPORTED),
    "a word of --set out of the environment": (pod_with("--set", "uid=$(MORE)"), Reason.COMMAND_UNSUPPORTED),
    "a dollar that is kept": (pod_with("-c", "$$(SITE)"), Reason.COMMAND_UNSUPPORTED),
    "two dollars that become one": (pod_with("-n", "job$$2"), Reason.COMMAND_UNSUPPORTED),
    "other case": (pod_with("-c", "Site-1"), Reason.CLIENT_NAME_MISMATCH),
    "a letter that looks alike": (pod_with("-c", LOOKS_ALIKE), Reason.CLIENT_NAME_MISMATCH),
    "a dash that looks alike": (pod_with("-c", "site\N{NON-BREAKING HYPHEN}1"), Reason.CLIENT_NAME_MISMATCH),
    "a mark that is not seen": (pod_with("-c", "site-1\N{ZERO WIDTH SPACE}"), Reason.CLIENT_NAME_MISMATCH),
    "white space": (pod_with("-c", " site-1"), Reason.CLIENT_NAME_MISMATCH),
    "a new line": (pod_with("-c", "site-1\n"), Reason.CLIENT_NAME_MISMATCH),
    # The server takes the last part of a path.
    "a client behind a path": (pod_with("-c", "site-1/../site-2"), Reason.CLIENT_NAME_MISMATCH),
    "a path to the client": (pod_with("-c", "./site-1"), Reason.CLIENT_NAME_MISMATCH),
    "a job behind a path": (pod_with("-n", "job-1/job-2"), Reason.JOB_ID_INVALID),
    "a job above": (pod_with("-n", ".."), Reason.JOB_ID_INVALID),
    "a job of white space": (pod_with("-n", " "), Reason.JOB_ID_INVALID),
    "a job with a new line": (pod_with("-n", "job-1\n"), Reason.JOB_ID_INVALID),
    "a job of letters that look alike": (pod_with("-n", "j\N{CYRILLIC SMALL LETTER O}b-1"), Reason.JOB_ID_INVALID),
    "a job that looks like an option": (pod_with("-n=--server=x:1"), Reason.JOB_ID_INVALID),
    "another job in a container": (pod_with(others={"containers": job_of("site-2", "job-2")}), ME),
    "another job in an init container": (pod_with(others={"initContainers": job_of("site-2", "job-2")}), ME),
    "another job in an ephemeral container": (pod_with(others={"ephemeralContainers": job_of("site-2", "job-2")}), ME),
    "a shell": (
        {
            "metadata": {},
            "spec": {"containers": [{"name": "c", "args": ["sh", "-c", " ".join(job_of("site-1", "j"))]}]},
        },
        Reason.JOB_ID_MISSING,
    ),
    "only an init container": (
        {"metadata": {}, "spec": {"initContainers": [{"name": "c", "args": job_of("site-2", "job-2")}]}},
        Reason.CLIENT_NAME_MISMATCH,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_sent_for_a_pod_that_claims_something(name: str) -> None:
    body, expected = CASES[name]
    assert plan(body) == expected


def test_the_log_is_read_from_the_container_that_says_who_it_is() -> None:
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        body = pod_with(others={kind: job_of("site-2", "job-2")})
        pod = parse_job_pod(body)
        assert pod is not None
        assert pod.container == body["spec"]["containers"][0]["name"]


def test_a_namespace_speaks_for_its_own_client_only() -> None:
    here = Policy("fl", "site", client_name="site-2", error_log=ERROR_LOG)
    root = Policy("sitelog-system", "all", client_name="site-1", error_log=ERROR_LOG, priority=9)
    assert plan(pod_with(), EffectivePolicy((here,))) is Reason.CLIENT_NAME_MISMATCH
    assert plan(pod_with(), EffectivePolicy((root, here))) is Reason.CLIENT_NAME_MISMATCH
    assert plan(pod_with("-c", "site-2"), EffectivePolicy((root, here))) is Reason.CLIENT_NAME_MISMATCH
    assert plan(pod_with(), EffectivePolicy((Policy("fl", "site", error_log=ERROR_LOG),))) is Reason.CLIENT_NAME_UNSET
    assert plan(pod_with(), EffectivePolicy()) is None


def test_a_name_is_shown_so_that_it_passes_for_no_other() -> None:
    alike = f"{LOOKS_ALIKE}\n"
    with pytest.raises(IdentityError, match=r"client 's\\u0456te-1\\n', but spec.clientName is 'site-1'$"):
        check_identity(Identity("job-1", alike), FORCE)
    with pytest.raises(IdentityError) as refusal:
        check_identity(Identity("/" * 100_000, "site-1"), FORCE)
    assert len(str(refusal.value)) < 250


# --- what Kubernetes makes of a command line ---------------------------------------------------------------------

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def started(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Expand words as a kubelet does (k8s.io/kubernetes/third_party/forked/golang/expansion)."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return environment.get(found[1], found[0])

    return [_REFERENCE.sub(value, word) for word in argv]


pieces = st.sampled_from(["$", "$$", "(", ")", "$(A)", "$(B", "$$(A)", "a", "-c", "-n", "=", " ", "site-1", "job-1"])
some_words = st.lists(st.lists(pieces, min_size=1, max_size=4).map("".join), max_size=5)


@at_least(1000)
@given(some_words, st.dictionaries(st.sampled_from("AB"), st.sampled_from(["-csite-2", "-n=job-2", "x", ""])))
def test_the_command_line_that_is_read_is_the_one_that_runs(more: list[str], environment: dict[str, str]) -> None:
    argv = [*HEAD, "-n", "job-1", "-c", "site-1", *more]
    try:
        identity = parse_identity(argv)
    except IdentityError:
        return
    assert started(argv, environment) == argv
    assert parse_identity(started(argv, environment)) == identity


# --- upload Jobs --------------------------------------------------------------------------------------------------


def upload_job(**annotations: str) -> dict[str, Any]:
    pod = parse_job_pod({**pod_with(), "metadata": {"namespace": "fl", "name": "pod", "uid": "u"}})
    assert pod is not None
    job = job_manifest(pod, Termination(End.OOM_KILLED, "killed"), ME, ERROR_LOG, "fl/site", "image:1")
    job["metadata"] |= {"uid": "uid-of-the-job"}
    job["metadata"]["annotations"] |= {f"sitelog.dev/{name}": value for name, value in annotations.items()}
    return job


def test_an_upload_job_is_whose_log_it_sends() -> None:
    assert parse_upload_job(upload_job()).identity == ME
    assert parse_upload_job(upload_job(**{"client-name": "site-2", "job-id": "job-2"})).identity == ME


@pytest.mark.parametrize(
    "args",
    [
        ["upload", "--job-id=job-1", "--client-name=site-2"],
        ["upload", "--job-id=job-1", "--client-name=site-1", "--client-name=site-2"],
        ["upload", "--job-id=job-1", "--client-name=site-1", "--client-name", "site-2"],
        ["upload", "--job-id=job-1"],
        [],
    ],
)
def test_an_upload_job_made_by_hand_for_another_client_is_not_let_run(args: list[str]) -> None:
    job = upload_job()
    job["spec"]["template"]["spec"]["containers"][0]["args"] = args
    with pytest.raises(IdentityError) as refusal:
        check_identity(parse_upload_job(job).identity, FORCE)
    assert refusal.value.reason is Reason.CLIENT_NAME_MISMATCH


def test_an_upload_job_with_another_container_is_nobodys() -> None:
    job = upload_job()
    job["spec"]["template"]["spec"]["containers"].append({"name": "more", "image": "i"})
    assert parse_upload_job(job).identity == Identity("", "")
