"""The sidecar's container: it starts where the job's does, and costs the pod nothing that it had."""

import copy
from typing import Any

import pytest

from sitelog.core.names import SIDECAR, WORKER_MODULE
from sitelog.kube.sidecar import has_sidecar, sidecar
from support.pods.job_pods import job_pod

WORKSPACE = "/var/tmp/nvflare/workspace"
FILE = f"{WORKSPACE}/47c8c6eb-7d37-4a0d-8e47-880d1e26c55d/error_log.txt"
JOB_ID = "47c8c6eb-7d37-4a0d-8e47-880d1e26c55d"


def launched(**changes: Any) -> dict[str, Any]:
    """Give the manifest of NVFlare's launcher, its container changed."""
    pod = job_pod("launched", JOB_ID)
    pod["spec"]["containers"][0] |= changes
    return pod


def built(pod: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(pod)
    found = sidecar(pod)
    assert pod == before
    assert found is not None
    return found


def with_arguments(old: str, new: str) -> dict[str, Any]:
    pod = launched()
    (container,) = pod["spec"]["containers"]
    assert old in container["args"]
    container["args"] = [new if word == old else word for word in container["args"]]
    return pod


def test_it_runs_in_the_jobs_own_image_and_sees_the_workspace_read_only() -> None:
    found = built(launched())
    *isolated, program, file = found.pop("args")
    assert isolated == ["-I", "-S", "-B", "-c"]
    compile(program, SIDECAR, "exec")
    assert file == FILE
    assert found == {
        "name": "sitelog-error-log",
        "image": "nvjob:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/local/bin/python3"],
        "restartPolicy": "Always",
        "resources": {
            "limits": {"memory": "32Mi", "ephemeral-storage": "1Gi"},
            "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
        },
        "volumeMounts": [{"name": "workspace-job", "mountPath": WORKSPACE, "readOnly": True}],
    }


def test_kubernetes_puts_no_variables_into_its_program() -> None:
    assert "$(" not in built(launched())["args"][-2]


def test_the_whole_command_line_may_stand_in_command_or_in_args() -> None:
    (container,) = launched()["spec"]["containers"]
    arguments = [*container["command"], *container["args"]]
    for command, args in ((arguments, []), ([], arguments)):
        found = built(launched(command=command, args=args))
        assert (found["command"], found["args"][-1]) == (["/usr/local/bin/python3"], FILE)


def test_it_runs_as_whom_the_job_runs() -> None:
    context = {"runAsUser": 1000, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert built(launched(securityContext=context))["securityContext"] == context


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({}, {"limits": {"memory": "32Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}}),
        (
            {"limits": {"nvidia.com/gpu": 1}},
            {"limits": {"memory": "32Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}},
        ),
        (
            {"limits": {"cpu": "2", "memory": "4Gi"}},
            {"limits": {"cpu": "10m", "memory": "32Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}},
        ),
        (
            {"requests": {"ephemeral-storage": "5Gi"}},
            {
                "limits": {"memory": "32Mi"},
                "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
            },
        ),
        (
            {"limits": {"ephemeral-storage": "5Gi"}},
            {
                "limits": {"memory": "32Mi", "ephemeral-storage": "5Gi"},
                "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
            },
        ),
    ],
)
def test_it_names_the_resources_that_the_job_names(job: dict[str, Any], expected: dict[str, Any]) -> None:
    assert built(launched(resources=job))["resources"] == expected


def test_the_deepest_mount_over_the_file_is_the_workspaces() -> None:
    mounts = [
        {"name": "root", "mountPath": "/"},
        {"name": "outer", "mountPath": "/var/tmp"},
        {"name": "workspace", "mountPath": f"{WORKSPACE}/", "subPath": "site-1", "mountPropagation": "None"},
        {"name": "beside", "mountPath": f"{WORKSPACE}/{JOB_ID[:-1]}"},
        {"name": "startup", "mountPath": f"{WORKSPACE}/startup"},
    ]
    for order in (mounts, mounts[::-1]):
        assert built(launched(volumeMounts=order))["volumeMounts"] == [
            {"name": "workspace", "mountPath": f"{WORKSPACE}/", "subPath": "site-1", "readOnly": True}
        ]
    (mount,) = built(launched(volumeMounts=mounts[:1]))["volumeMounts"]
    assert mount == {"name": "root", "mountPath": "/", "readOnly": True}


def test_a_workspace_is_named_as_the_kernel_would() -> None:
    found = built(with_arguments(WORKSPACE, "/var//tmp/./nvflare/x/../workspace/"))
    assert found["args"][-1] == FILE


UNREACHABLE = {
    "no volume": launched(volumeMounts=[]),
    "no mount of the workspace": launched(volumeMounts=[{"name": "w", "mountPath": f"{WORKSPACE}/startup"}]),
    "a mount whose name only begins like it": launched(volumeMounts=[{"name": "w", "mountPath": "/var/tm"}]),
    "a sub-path of variables": launched(
        volumeMounts=[
            {"name": "outer", "mountPath": "/var"},
            {"name": "w", "mountPath": WORKSPACE, "subPathExpr": "$(POD)"},
        ]
    ),
    "a shell": launched(command=["sh", "-c"], args=[f"exec python3 -m {WORKER_MODULE} -m {WORKSPACE} -n job"]),
    "an interpreter of variables": launched(command=["$(PYTHON)"]),
    "a workspace of variables": with_arguments(WORKSPACE, "$(WORKSPACE)"),
    "a workspace that hangs on the working directory": with_arguments(WORKSPACE, "workspace"),
    "a job id with a slash": with_arguments(JOB_ID, "../../etc"),
    "a job id that leads upwards": with_arguments(JOB_ID, ".."),
    "a job id that leads nowhere": with_arguments(JOB_ID, "."),
    "no job id": job_pod("launched", ""),
    "no job": {"spec": {"containers": [{"name": "other", "image": "x", "command": ["sleep"]}]}},
    "no spec": {},
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_there_is_none_where_the_error_log_cannot_be_reached(case: str) -> None:
    assert sidecar(UNREACHABLE[case]) is None


def test_a_job_that_is_an_init_container_has_none() -> None:
    """It ends before the pod's other containers start, and a sidecar would have to stand before it."""
    pod = launched()
    pod["spec"] |= {"initContainers": pod["spec"]["containers"], "containers": [{"name": "x", "image": "x"}]}
    assert sidecar(pod) is None


def test_a_container_of_its_name_is_found_wherever_it_stands() -> None:
    pod = launched()
    assert not has_sidecar(pod)
    assert not has_sidecar({})
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        assert has_sidecar({"spec": {**pod["spec"], kind: [*pod["spec"].get(kind, []), {"name": SIDECAR}]}})
