"""The second lock on pods of every shape: what a real API server lets in under a prohibition streams nothing.

What would stream is told by real parts: a shell and Python run what a pod starts, and NVFlare's own parser and
ConfigService read what its job module got.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given

from sitelog.core.jobpod.command_line import CommandError
from sitelog.core.jobpod.container import MAX_CHARACTERS, MAX_CONTAINERS, MAX_TEXTS
from sitelog.core.names import CLIENT_MODULE, FORBIDDING_VARIABLE, WORKER_MODULE
from sitelog.kube.lock import hold_in_pod
from support.control_plane.api import STRATEGIC_MERGE_PATCH, ApiError, Json
from support.inputs.hypothesis_profiles import at_least
from support.inputs.pod_shapes import ELSEWHERE, FILE, FOLDER, HELD, REQUIRED, VARIABLE, pods
from support.pods.started import LIBRARY, Image, streams, streams_forgetful
from support.sitelog.installation import Installation

STREAMING = [*REQUIRED, "--set", "allow_log_streaming=true"]
SHELL = f'exec python3 -m "$0" "$@" {" ".join(STREAMING[-2:])}'
ELSEWHERE_M = {"name": "ELSEWHERE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}


def python(*argv: str, **more: Any) -> Json:
    return {"command": ["python3"], "args": [*argv, *STREAMING], "env": [VARIABLE], **more}


def hook(*argv: str) -> Json:
    return {"exec": {"command": ["python3", *argv, *STREAMING]}}


def variables(**values: str) -> list[Json]:
    return [*({"name": name, "value": value} for name, value in values.items()), VARIABLE]


JOB = ("-m", WORKER_MODULE)
# Everything here would stream if it ran: `test_every_row_would_stream`.
ROWS: dict[str, Json] = {
    "launched": python("-u", *JOB),
    "words before the module": {"command": ["sh", "-c", SHELL, WORKER_MODULE, *HELD], "env": [VARIABLE]},
    "words before a module of a variable": {
        "command": ["sh", "-c", SHELL.replace("$0", "$M"), "sh", *HELD],
        "env": variables(M=WORKER_MODULE),
    },
    "a wrapper": {"command": ["env", f"{FORBIDDING_VARIABLE}=true", "python3", *JOB, *STREAMING]},
    "a wrapper of Python's": python("-m", "runpy", WORKER_MODULE),
    "postStart": {"command": ["sh", "-c", "exit 0"], "lifecycle": {"postStart": hook(*JOB)}},
    "preStop beside a job that is held": {
        "command": ["python3", *JOB, *HELD],
        "env": [VARIABLE],
        "lifecycle": {"preStop": hook(*JOB)},
    },
    "a probe": {"command": ["sh", "-c", "exit 0"], "startupProbe": hook(*JOB)},
    "a probe by a file": {"command": ["sh", "-c", "exit 0"], "livenessProbe": hook(FILE)},
    "a probe by a variable": {
        "command": ["sh", "-c", "exit 0"],
        "env": variables(M=WORKER_MODULE),
        "readinessProbe": hook("-m", "$(M)"),
    },
    "the module from a variable": python("-m", "$(M)", env=variables(M=WORKER_MODULE)),
    "the module from two": python(
        "-m", "$(A)$(B)", env=variables(A="nvflare.private.fed", B=".app.client.worker_process")
    ),
    "the module from elsewhere": python("-m", "$(ELSEWHERE)", env=[ELSEWHERE_M, VARIABLE]),
    "everything from a variable": {
        "command": ["sh", "-c", f"exec $LINE {' '.join(STREAMING)}"],
        "env": variables(LINE=f"python3 -m {WORKER_MODULE}"),
    },
    "the file": python(FILE),
    "the file by its folder": python("worker_process.py", workingDir=FOLDER),
    "the module by its folder": python("-m", "worker_process", workingDir=FOLDER),
    "a text of Python": python("-c", f"import runpy; runpy.run_module('{WORKER_MODULE}', run_name='__main__')"),
    "glued": python(f"-m{WORKER_MODULE}"),
    "an option behind the word": {"command": ["python3", *JOB, *HELD, "--se", STREAMING[-1]], "env": [VARIABLE]},
}
FORGETFUL: dict[str, Json] = {
    "no variable": {"env": []},
    "another value": {"env": [{**VARIABLE, "value": "true"}]},
    "a later one": {"env": [VARIABLE, {**VARIABLE, "value": "true"}]},
    "one from elsewhere": {"env": [VARIABLE, {**ELSEWHERE_M, "name": FORBIDDING_VARIABLE}]},
}

Admit = Callable[[Json], Json | None]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def prohibited(installation: Installation) -> Iterator[str]:
    """A namespace whose policy prohibits."""
    api = installation.control_plane.api
    name = "lock-prohibited"
    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    installation.policy(name, logStreaming="ErrorLogOnly")
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def free(installation: Installation) -> Iterator[str]:
    """A namespace without any policy."""
    api = installation.control_plane.api
    name = "lock-free"
    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


def admitter(installation: Installation, namespace: str) -> Admit:
    """Give what tells how the API server stores a pod; None if a prohibition keeps it out."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"

    def admit(pod: Json) -> Json | None:
        try:
            return dict(installation.control_plane.api.create(path, pod))
        except ApiError as error:
            if "prohibits log streaming" in str(error):
                return None
            raise

    return admit


def started(image: Image, pod: Json) -> list[tuple[list[str], dict[str, str]]]:
    found = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return [noted for container in found for noted in image.run(container, ELSEWHERE)]


def test_every_row_would_stream(image: Image) -> None:
    for name, container in ROWS.items():
        assert any(map(streams, image.run(container, ELSEWHERE))), name
    for name, container in FORGETFUL.items():
        held = {"command": ["python3", *JOB, *HELD], **container}
        assert any(map(streams_forgetful, image.run(held, ELSEWHERE))), name


def pod_of(container: Json, kind: str = "containers") -> Json:
    spec: Json = {"containers": [{"name": "other", "image": "none"}]}
    spec[kind] = [{"name": "main", "image": "none", **container}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "row-"}, "spec": spec}


def rows() -> Iterator[tuple[str, Json]]:
    forgetful = {name: {"command": ["python3", *JOB, *HELD], **each} for name, each in FORGETFUL.items()}
    for name, container in {**ROWS, **forgetful}.items():
        yield name, pod_of(container)
        if not {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"} & container.keys():
            yield f"{name}, init", pod_of(container, "initContainers")


def test_each_row_with_the_webhook(installation: Installation, prohibited: str, free: str, image: Image) -> None:
    admit, admit_free = admitter(installation, prohibited), admitter(installation, free)
    for name, pod in rows():
        stored = admit(pod)
        for noted in started(image, stored) if stored else ():
            assert not streams(noted), name
            assert not streams_forgetful(noted), name
        there = admit_free(pod)
        assert there
        for kind in ("containers", "initContainers"):
            for before, after in zip(pod["spec"].get(kind, []), there["spec"].get(kind, []), strict=True):
                assert {key: after.get(key) for key in ("command", "args", "env") if key in before} == {
                    key: before[key] or None for key in ("command", "args", "env") if key in before
                }, name


INNOCENT: list[Json] = [
    {},
    {"command": ["python3", "-u", "-m", CLIENT_MODULE, "-m", "$(WS)", "-s", "fed_client.json"]},
    {"command": ["sh", "-c", f"exec python3 -u -m {CLIENT_MODULE} -m $WS"]},
    {"command": ["python3", f"{LIBRARY}/nvflare/private/fed/app/client/client_train.py"]},
    {"command": ["python3", "-m", "nvflare.private.fed.app.server.server_train", "-m", "$(WS)"]},
    {"command": ["nginx", "-g", "worker_processes 4; daemon off;"]},
    {"command": ["sh", "-c", "pip install python3 $PACKAGES && exec python3 app.py $HOME"]},
    {"command": ["python3", "-m", "http.server", "$(PORT)"]},
    {"command": ["redis-server", "$(CONFIG)"], "readinessProbe": {"exec": {"command": ["redis-cli", "ping"]}}},
    {"command": ["sh", "-c", "exit 0"], "livenessProbe": {"httpGet": {"path": "/worker_process", "port": 80}}},
    {"args": ["-u", *JOB, *HELD], "env": [VARIABLE]},
    {"command": ["/opt/conda/bin/python3.11", "-B", "-X", "dev", "-Wignore", *JOB, *HELD], "env": [VARIABLE]},
    {"command": ["python3", *JOB, *HELD], "env": [VARIABLE, VARIABLE]},
]


def test_what_runs_no_job_is_let_in(installation: Installation, prohibited: str) -> None:
    admit = admitter(installation, prohibited)
    for container in INNOCENT:
        assert admit(pod_of(container)), container


def test_a_job_in_an_ephemeral_container(installation: Installation, prohibited: str) -> None:
    api = installation.control_plane.api
    running = api.create(f"/api/v1/namespaces/{prohibited}/pods", pod_of({}))
    path = f"/api/v1/namespaces/{prohibited}/pods/{running['metadata']['name']}/ephemeralcontainers?dryRun=All"

    def add(container: Json) -> Json:
        added = [{"name": "added", "image": "none", **container}]
        return dict(api.patch(path, {"spec": {"ephemeralContainers": added}}, STRATEGIC_MERGE_PATCH))

    for name, container in ROWS.items():
        if {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"} & container.keys():
            continue  # which ephemeral containers do not have
        with pytest.raises(ApiError, match="prohibits log streaming"):
            pytest.fail(f"{name}: {add(container)}")
    add({"command": ["python3", *JOB, *HELD], "env": [VARIABLE]})
    add({"command": ["sh"]})


TOO_LARGE: dict[str, Json] = {
    "words": {"args": ["x"] * 20_000},
    "characters": {"args": ["x" * 100_000] * 12},
    "variables": {"env": [{"name": f"V{number}", "value": "x"} for number in range(2_000)]},
    "words of a probe": {"livenessProbe": {"exec": {"command": ["x"] * 20_000}}},
    "words of a job": {"command": ["python3", *JOB, *["x"] * 20_000, *HELD], "env": [VARIABLE]},
}


def test_what_is_too_large_is_kept_out_and_costs_others_nothing(
    installation: Installation, prohibited: str, free: str
) -> None:
    admit, admit_free = admitter(installation, prohibited), admitter(installation, free)
    many = pod_of({})
    many["spec"]["containers"] = [{"name": f"c{number}", "image": "none"} for number in range(MAX_CONTAINERS + 1)]
    for pod in (*map(pod_of, TOO_LARGE.values()), many):
        with pytest.raises(CommandError, match="too large"):
            hold_in_pod(pod)
        assert admit(pod) is None
        assert admit_free(pod)


def test_as_much_as_is_looked_at_is_within_the_api_servers_budget(installation: Installation, prohibited: str) -> None:
    """Worst texts for the expressions, up to each limit: an expression that costs too much would keep the pod out."""
    admit = admitter(installation, prohibited)
    job = ["python3", *JOB, *HELD]
    for text in ("python -abcdefg -b ", "worker_proces nvflare.private.fed.app.clien", "a"):
        word = (text * 50)[:40]
        words = [word] * (MAX_TEXTS - len(job) - 10)
        for container in ({"command": ["x", *words]}, {"command": [*job[:3], *words, *job[3:]], "env": [VARIABLE]}):
            assert admit(pod_of(container)), text
        assert admit(pod_of({"args": [(text * MAX_CHARACTERS)[: MAX_CHARACTERS - 100]]})), text
        half = pod_of({})
        half["spec"]["containers"] = [
            {"name": f"c{number}", "image": "none", "command": [*job[:3], word * 10, *job[3:]], "env": [VARIABLE]}
            for number in range(MAX_CONTAINERS - 20)
        ]
        assert admit(half), text


@pytest.fixture(scope="module")
def unwatched(installation: Installation, prohibited: str) -> Iterator[str]:
    """The same namespace, from here on without a webhook pod."""
    with installation.without_webhook():
        yield prohibited


def test_each_row_without_the_webhook(installation: Installation, unwatched: str) -> None:
    admit = admitter(installation, unwatched)
    for name, pod in rows():
        assert admit(pod) is None, name
    for container in INNOCENT:
        assert admit(pod_of(container)), container


def test_no_pod_of_any_shape_streams(installation: Installation, unwatched: str, image: Image) -> None:
    """And the expressions in the API server agree with core.jobpod on each."""
    admit = admitter(installation, unwatched)
    let_in: list[bool] = []

    @at_least(2000)
    @given(pods())
    def nothing_streams(pod: Json) -> None:
        try:
            changes = hold_in_pod(pod)
        except CommandError:
            assert admit(pod) is None
            let_in.append(False)
            return
        let_in.append(not changes)
        if changes:
            assert admit(pod) is None
            pod["spec"] |= changes
        assert admit(pod)
        for noted in started(image, pod):
            assert not streams(noted), noted
            assert not streams_forgetful(noted), noted

    nothing_streams()
    assert any(let_in)
    assert not all(let_in)
