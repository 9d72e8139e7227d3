"""The second lock: job pods on their way into a real API server under a prohibition."""

import json
from pathlib import Path
from typing import Any

import pytest

from sitelog.core.names import (
    FINALIZER_ERROR_LOG,
    FORBIDDING_ARGUMENT,
    FORBIDDING_VALUE,
    FORBIDDING_VARIABLE,
    SIDECAR,
    WORKER_MODULE,
)
from sitelog.core.policy.effective import Policies
from sitelog.core.policy.policy import Capture, ErrorLog, LogStreaming, Policy
from sitelog.webhook.job_pod_review import review_pod
from support.control_plane.api import Json
from support.pods.job_pods import job_pod
from support.pods.launched_pod import launched_pod
from support.sitelog.installation import Installation


def create(installation: Installation, namespace: str, pod: Json) -> tuple[Json | None, str]:
    """Create a pod; give it as it is stored, None if it is not let in, and kubectl's words."""
    here = f"--namespace={namespace}"
    said = installation.control_plane.kubectl("create", "-f", "-", here, input=json.dumps(pod), check=False)
    path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
    stored = installation.control_plane.api.find(path)
    return stored, said


VARIABLE = {"name": FORBIDDING_VARIABLE, "value": FORBIDDING_VALUE}


def argv(container: Json) -> list[str]:
    return [*container.get("command", []), *container.get("args", [])]


def with_words(name: str, command: list[str], args: list[str]) -> Json:
    pod = job_pod(name)
    pod["spec"]["containers"][0] |= {"command": command, "args": args}
    return pod


def job_args(name: str) -> list[str]:
    return list(job_pod(name)["spec"]["containers"][0]["args"])


def test_a_launched_pod_gets_word_and_variable_and_nothing_else_changes(
    installation: Installation, namespace: str, tmp_path: Path
) -> None:
    installation.policy(namespace, logStreaming="Forbidden", clientName="site-1")
    for pod in (launched_pod(tmp_path, "4711", "site-1"), job_pod("recorded")):
        (before,) = pod["spec"]["containers"]
        pod["metadata"].pop("namespace", None)
        stored, said = create(installation, namespace, pod)
        assert stored is not None, said
        assert "Warning" not in said
        (after,) = stored["spec"]["containers"]
        assert argv(after) == [*argv(before), FORBIDDING_ARGUMENT]
        assert after["env"] == [*before["env"], VARIABLE]
        same = {**before, "volumeMounts": after["volumeMounts"], "env": after["env"]}
        assert {**after, "args": before["args"]} == {**after, **same}
        assert stored["metadata"]["labels"]["sitelog.dev/client"] == "site-1"


def test_every_form_in_which_a_job_is_started(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, logStreaming="Forbidden")
    args = job_args("job")
    where = args.index("--set")
    rest, arguments = args[:where], args[where:]
    python = ["/usr/local/bin/python3"]
    forms = {
        "command": ([*python, *args], [], [*args, FORBIDDING_ARGUMENT]),
        "image": ([], args, [*args, FORBIDDING_ARGUMENT]),
        "unset": (python, rest, [*rest, "--set", FORBIDDING_ARGUMENT]),
        "behind": (python, [*args, "--local_rank", "0"], [*args, "--local_rank", "0", *arguments, FORBIDDING_ARGUMENT]),
        "overridden": (
            python,
            [*args, FORBIDDING_ARGUMENT, "allow_log_streaming=true"],
            [*args, FORBIDDING_ARGUMENT, "allow_log_streaming=true", FORBIDDING_ARGUMENT],
        ),
        "has": (python, [*args, FORBIDDING_ARGUMENT], [*args, FORBIDDING_ARGUMENT]),
    }
    for name, (command, given, expected) in forms.items():
        stored, said = create(installation, namespace, with_words(name, command, given))
        assert stored is not None, said
        found = argv(stored["spec"]["containers"][0])
        assert found[len(found) - len(expected) :] == expected, name
        assert found[: len(found) - len(expected)] == ([] if name == "image" else python)


def test_every_container_that_runs_a_job(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, logStreaming="Forbidden")
    other = {"name": "other", "image": "nvjob:1", "command": ["sleep", "1"]}
    job = job_pod("x")["spec"]["containers"][0]
    pods: dict[str, dict[str, Any]] = {
        "init": {"initContainers": [job], "containers": [other]},
        "both": {"initContainers": [{**job, "name": "first"}], "containers": [other, job]},
        "two": {"containers": [job, {**job, "name": "second"}]},
    }
    for name, spec in pods.items():
        pod = job_pod(name)
        pod["spec"] |= spec
        stored, said = create(installation, namespace, pod)
        assert stored is not None, said
        found = [*stored["spec"]["containers"], *stored["spec"].get("initContainers", [])]
        for container in found:
            is_job = WORKER_MODULE in argv(container)
            assert argv(container) == ([*argv(job), FORBIDDING_ARGUMENT] if is_job else other["command"]), name
            assert (VARIABLE in container.get("env", [])) is is_job, name
        assert stored["metadata"]["labels"]["sitelog.dev/client"] == "site-1"


def test_what_cannot_have_the_word_is_kept_out(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, logStreaming="Forbidden")
    line = f"exec python3 -m {WORKER_MODULE} -n job -c site-1 --set a=b {FORBIDDING_ARGUMENT}"
    cases = {
        "shell": (["sh", "-c"], [line], "more than python, its plain options and -m stand before"),
        "pretends": (
            ["sh", "-c", line, WORKER_MODULE],
            ["--set", FORBIDDING_ARGUMENT],
            "more than python, its plain options and -m stand before",
        ),
        "environment": (["python3"], [*job_args("x"), "$(MORE)"], "Kubernetes would put another value in for $(...)"),
    }
    for name, (command, args, why) in cases.items():
        stored, said = create(installation, namespace, with_words(name, command, args))
        assert stored is None
        assert 'admission webhook "pods.sitelog.dev" denied the request: ' in said
        assert (
            f"Pod {namespace}/{name}: SiteLogPolicy {namespace}/site prohibits log streaming, and nothing would keep"
            f" this pod from it: container {job_pod(name)['spec']['containers'][0]['name']}: {why}"
        ) in said
        assert "start the job by NVFlare's launcher" in said


@pytest.mark.parametrize("spec", [{"logStreaming": "Allowed"}, {"logStreaming": "Forbidden", "mode": "DryRun"}])
def test_nothing_is_changed_or_refused_where_nothing_is_forbidden(
    installation: Installation, namespace: str, spec: dict[str, str]
) -> None:
    installation.policy(namespace, **spec)
    if "mode" in spec:  # an enforced one tells that the webhook knows the other as well
        installation.policy(namespace, "zz-last", logStreaming="Allowed")
    shell = with_words("shell", ["sh", "-c"], [f"python3 -m {WORKER_MODULE} -n job -c site-1"])
    for pod in (job_pod("plain"), shell):
        stored, said = create(installation, namespace, pod)
        assert stored is not None
        assert argv(stored["spec"]["containers"][0]) == argv(pod["spec"]["containers"][0])
        assert "allow_log_streaming" not in json.dumps(stored["spec"])
        assert ("DryRun of SiteLogPolicy" in said) is ("mode" in spec)


def test_other_pods_are_untouched(installation: Installation, namespace: str) -> None:
    installation.policy(namespace, logStreaming="Forbidden")
    pod = with_words("other", ["python3", "-m", "http.server"], ["--set", "a=b"])
    stored, said = create(installation, namespace, pod)
    assert stored is not None
    assert said == "pod/other created\n"
    assert argv(stored["spec"]["containers"][0]) == argv(pod["spec"]["containers"][0])
    assert "labels" not in stored["metadata"]


def test_a_pod_whose_error_log_is_wanted_gets_both_locks_and_the_sidecar() -> None:
    policy = Policy(
        "fl",
        "site",
        log_streaming=LogStreaming.ERROR_LOG_ONLY,
        client_name="site-1",
        error_log=ErrorLog(upload=True, capture=Capture.SIDECAR),
    )
    pod = job_pod("captured")
    pod["metadata"]["namespace"] = "fl"
    review = review_pod(pod, Policies("root", (policy,)))
    assert review.refusal is None
    (container,) = review.merge["spec"]["containers"]
    assert argv(container)[-1] == FORBIDDING_ARGUMENT
    assert container["env"][-1] == VARIABLE
    (sidecar,) = review.merge["spec"]["initContainers"]
    assert sidecar["name"] == SIDECAR
    assert FINALIZER_ERROR_LOG in review.merge["metadata"]["finalizers"]
    pod["spec"] |= review.merge["spec"]
    again = review_pod(pod, Policies("root", (policy,)))
    assert again.refusal is None
    assert "spec" not in again.merge
