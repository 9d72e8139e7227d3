"""Shapes of pods that start a job, as hypothesis draws them: as NVFlare's launcher does it, and as it never would.

What the threat model does not promise is not among them: a shell or a program whose own text puts the module's name
together, or takes it from where the manifest does not say.
"""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from sitelog.core.names import FORBIDDING_ARGUMENT, FORBIDDING_VALUE, FORBIDDING_VARIABLE, WORKER_MODULE
from support.control_plane.api import Json
from support.pods.started import LIBRARY

FILE = f"{LIBRARY}/{WORKER_MODULE.replace('.', '/')}.py"
FOLDER = FILE.rpartition("/")[0]
REQUIRED = ["-m", "ws", "-w", "ws/startup", "-t", "t", "-ts", "s", "-d", "d", "-n", "job", "-c", "site-1"]
REQUIRED += ["-g", "server:8002", "-scheme", "http", "-p", "stcp://site-1:8102", "-s", "fed_client.json"]
HELD = [*REQUIRED, "--set", "a=b", FORBIDDING_ARGUMENT]
VARIABLE = {"name": FORBIDDING_VARIABLE, "value": FORBIDDING_VALUE}
STREAM = "allow_log_streaming=true"
# Variables whose value the manifest does not have.
ELSEWHERE: Mapping[str, str] = {
    "ELSEWHERE": WORKER_MODULE,
    "OPTION": "--set",
    FORBIDDING_VARIABLE: "true",
    FORBIDDING_VARIABLE.lower(): "true",
}
_RUNPY = f"import runpy; runpy.run_module('{WORKER_MODULE}', run_name='__main__', alter_sys=True)"
_FROM_ELSEWHERE = {"configMapKeyRef": {"name": "c", "key": "k"}}

interpreters = st.sampled_from(
    [["python3"], ["python"], ["env", "python3"], ["env", "A=b", "python3"], ["nice", "python3"], []]
)
options = st.lists(
    st.sampled_from(
        [["-u"], ["-B"], ["-uB"], ["-E"], ["-s"], ["-X", "dev"], ["-Xutf8"], ["-W", "ignore"], ["-Wignore"], ["-i"]]
    ),
    max_size=2,
).map(lambda found: [word for words in found for word in words])
modules = st.sampled_from(
    [
        *[["-m", WORKER_MODULE]] * 6,
        [f"-m{WORKER_MODULE}"],
        ["-um", WORKER_MODULE],
        ["-m", "runpy", WORKER_MODULE],
        ["-m", "cProfile", "-m", WORKER_MODULE],
        ["-m", "$(MODULE)"],
        ["-m", "$(ELSEWHERE)"],
        ["-m$(ELSEWHERE)"],
        ["-m", "$(HALF)$(REST)"],
        ["-m", "nvflare.private.fed.app.client.$(NAME)"],
        [FILE],
        ["$(FILE)"],
        [f"{FOLDER}/../client/worker_process.py"],
        ["-c", _RUNPY],
        ["-c", "$(CODE)"],
    ]
)
last_words = st.sampled_from(
    [
        FORBIDDING_ARGUMENT,
        FORBIDDING_ARGUMENT,
        STREAM,
        "",
        "x=y",
        "$(OPTION)",
        "$(WORD)",
        "--",
        "-x y",
        f"a=\n{STREAM}",
        "--set",
    ]
)
endings = st.one_of(
    st.just(["--set", FORBIDDING_ARGUMENT]),
    st.lists(last_words, max_size=4).map(lambda words: ["--set", *words]),
    st.sampled_from(
        [[f"--set={STREAM}"], ["--se", STREAM], [f"--se={STREAM}"], ["$(OPTION)", STREAM], ["--local_rank", "1"]]
    ),
)
jobs = st.builds(
    lambda middle, ends: [*middle, *(word for end in ends for word in end)],
    st.sampled_from([REQUIRED, REQUIRED, HELD, [*HELD[2:], "-m", "ws"]]),
    st.lists(endings, max_size=3),
)
shells = st.sampled_from(
    [
        f"exec python3 -m {WORKER_MODULE} {' '.join(HELD)}",
        f'exec python3 -m "$0" "$@" --set {STREAM}',
        f'exec python3 -m $MODULE "$@" --set {STREAM}',
        f'exec python3 -u -m $ELSEWHERE "$@" --set {STREAM}',
        f'{FORBIDDING_VARIABLE}=true exec python3 -m {WORKER_MODULE} "$@" --set {STREAM}',
        f'cd {FOLDER} && python3 -m worker_process "$@" --set {STREAM}',
        f'cd {FOLDER} && python3 w*.py "$@" --set {STREAM}',
        f'exec python3 -m nvflare.private.fed.app.client.work""er_process "$@" --set {STREAM}',
        f'exec $LINE "$@" --set {STREAM}',
        "exit 0",
    ]
)
_NAMED = [
    {"name": "MODULE", "value": WORKER_MODULE},
    {"name": "FILE", "value": FILE},
    {"name": "CODE", "value": _RUNPY},
    {"name": "LINE", "value": f"python3 -m {WORKER_MODULE}"},
    {"name": "NAME", "value": "worker_process"},
]
_ELSEWHERE = {"name": "ELSEWHERE", "valueFrom": _FROM_ELSEWHERE}
variables = st.lists(
    st.sampled_from(
        [
            *_NAMED,
            _ELSEWHERE,
            {"name": "HALF", "value": "nvflare.private.fed.app.cl"},
            {"name": "REST", "value": "ient.worker_process"},
            {"name": "OPTION", "valueFrom": _FROM_ELSEWHERE},
            {"name": "WORD", "value": STREAM},
            VARIABLE,
            VARIABLE,
            {**VARIABLE, "value": "true"},
            {**VARIABLE, "value": "False"},
            {"name": FORBIDDING_VARIABLE, "valueFrom": _FROM_ELSEWHERE},
            {**VARIABLE, "name": FORBIDDING_VARIABLE.lower(), "value": "true"},
            {**VARIABLE, "name": FORBIDDING_VARIABLE.title()},
            {"name": "PYTHONUNBUFFERED", "value": "1"},
        ]
    ),
    max_size=4,
)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Give a command line; without an interpreter it is what an image's entrypoint gets."""
    match draw(st.sampled_from(["as the launcher does", "as the launcher does", "python", "python", "shell", "other"])):
        case "as the launcher does":
            return ["python3", "-u", "-m", WORKER_MODULE, *draw(jobs)]
        case "python":
            return [*draw(interpreters), *draw(options), *draw(modules), *draw(jobs)]
        case "shell":
            return ["sh", "-c", draw(shells), draw(st.sampled_from(["sh", WORKER_MODULE])), *draw(jobs)]
        case _:
            return draw(
                st.sampled_from(
                    [["sh"], ["python3", "-m", "http.server", "-h"], ["$(LINE)"], ["sh", "-c", "exit 0", "x"]]
                )
            )


@st.composite
def containers(draw: st.DrawFn, name: str) -> Json:
    """Give a container that starts something by its command line, a hook or a probe."""
    container: Json = {"name": name, "image": "none", "env": draw(variables)}
    argv = draw(command_lines())
    if argv[0].startswith("-"):
        container["args"] = argv
    elif draw(st.booleans()):
        container["command"] = argv
    else:
        container |= {"command": argv[:1], "args": argv[1:]}
    if draw(st.integers(0, 3)) == 0:
        started = {"exec": {"command": draw(command_lines())}}
        place = draw(st.sampled_from(["postStart", "preStop", "livenessProbe", "readinessProbe", "startupProbe"]))
        container |= {place: started} if place.endswith("Probe") else {"lifecycle": {place: started}}
    if draw(st.integers(0, 5)) == 0:
        container["workingDir"] = draw(st.sampled_from([FOLDER, LIBRARY]))
    return container


@st.composite
def pods(draw: st.DrawFn) -> Json:
    """Give a pod with one or two such containers."""
    spec: dict[str, Any] = {"containers": [draw(containers("main"))]}
    if draw(st.integers(0, 3)) == 0:
        init = draw(containers("init"))
        if "lifecycle" not in init and not any(key.endswith("Probe") for key in init):  # these have none
            spec["initContainers"] = [init]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "job-"}, "spec": spec}
