"""A job pod's manifest as NVFlare's own Kubernetes launcher makes it, caught before it reaches an API server."""

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

from nvflare.apis.fl_constant import FLContextKey, JobConstants, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobProcessArgs
from nvflare.apis.workspace import Workspace
from nvflare.app_opt.job_launcher.k8s_launcher import ClientK8sJobLauncher

from sitelog.core.names import WORKER_MODULE


def launched_pod(folder: Path, job_id: str, client_name: str) -> dict[str, Any]:
    """Let the launcher launch a job at a site with a workspace in `folder`; return the pod that it would create."""
    for name in ("startup", "local"):
        (folder / name).mkdir(exist_ok=True)
    launcher = ClientK8sJobLauncher(config_file_path=None, namespace="fl")
    # Refusing the pod ends the launch there, and the launcher says so in a handle.
    launcher.core_v1 = mock.Mock(**{"create_namespaced_pod.side_effect": ConnectionError("no API server here")})
    launcher.launch_job(
        {JobConstants.JOB_ID: job_id, "launcher_spec": {"default": {"k8s": {"image": "nvjob:1"}}}},
        _context(folder, job_id, client_name),
    )
    manifest: dict[str, Any] = launcher.core_v1.create_namespaced_pod.call_args.kwargs["body"]
    return manifest


def _context(folder: Path, job_id: str, client_name: str) -> FLContext:
    workspace = str(folder)
    context = FLContext()
    context.set_prop(ReservedKey.IDENTITY_NAME, client_name, private=False)
    context.set_prop(ReservedKey.ENGINE, mock.Mock())
    context.set_prop(FLContextKey.WORKSPACE_OBJECT, Workspace(workspace, client_name))
    context.set_prop(FLContextKey.ARGS, argparse.Namespace(workspace=workspace, set=["secure_train=true"]))
    context.set_prop(
        FLContextKey.JOB_PROCESS_ARGS,
        {
            JobProcessArgs.EXE_MODULE: ("-m", WORKER_MODULE),
            JobProcessArgs.WORKSPACE: ("-m", workspace),
            JobProcessArgs.STARTUP_DIR: ("-w", f"{workspace}/startup"),
            JobProcessArgs.JOB_ID: ("-n", job_id),
            JobProcessArgs.CLIENT_NAME: ("-c", client_name),
            JobProcessArgs.PARENT_URL: ("-p", "stcp://site-1:8102"),
            JobProcessArgs.PARENT_CONN_SEC: ("--parent_conn_sec", "mtls"),
            JobProcessArgs.TARGET: ("-g", "server:8002"),
            JobProcessArgs.SCHEME: ("-scheme", "http"),
            JobProcessArgs.STARTUP_CONFIG_FILE: ("-s", "fed_client.json"),
            JobProcessArgs.OPTIONS: ("--set", "secure_train=true config_folder=config org=a uid=b"),
            JobProcessArgs.AUTH_TOKEN: ("-t", "token"),
            JobProcessArgs.TOKEN_SIGNATURE: ("-ts", "signature"),
            JobProcessArgs.SSID: ("-d", "ssid"),
        },
    )
    return context
