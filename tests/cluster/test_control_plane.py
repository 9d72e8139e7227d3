import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.control_plane.binaries import PACKAGES, ToolsError, kubernetes_version, tools_folder
from support.control_plane.control_plane import CommandError, ControlPlane
from support.wait import wait_for


def test_programs_are_taken_from_kubebuilder_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PACKAGES:
        (tmp_path / name).write_text(name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    folder = tools_folder()

    assert {name: (folder / name).read_text() for name in PACKAGES} == {name: name for name in PACKAGES}


def test_without_go_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolsError, match=r"no `go` on PATH. Install Go 1\.26"):
        tools_folder()


def test_an_old_go_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_go = tmp_path / "go"
    old_go.write_text("#!/bin/sh\necho go1.19.8\n")
    old_go.chmod(0o755)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolsError, match=r"needs Go 1\.26.* or newer, .*go1\.19\.8"):
        tools_folder()


def test_the_api_server_has_the_pinned_version(control_plane: ControlPlane) -> None:
    version = json.loads(control_plane.kubectl("version", "--output=json"))

    assert version["serverVersion"]["gitVersion"] == kubernetes_version() == "v1.37.2"


def test_a_service_account_may_only_what_rbac_says(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "default")

    whoami = control_plane.kubectl("auth", "whoami", kubeconfig=kubeconfig)
    with pytest.raises(CommandError, match="forbidden"):
        control_plane.kubectl("get", "configmaps", "--namespace", namespace, kubeconfig=kubeconfig)

    assert f"system:serviceaccount:{namespace}:default" in whoami


def test_the_garbage_collector_runs(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = control_plane.api.create(path, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    control_plane.api.create(path, {"metadata": {"name": "owned", "ownerReferences": [reference]}})

    control_plane.api.delete(f"{path}/owner")

    wait_for(lambda: not control_plane.exists(f"{path}/owned"), deadline=60, what="the owned ConfigMap to be collected")


START_AND_WAIT = """
import signal
from support.control_plane.control_plane import ControlPlane
with ControlPlane() as control_plane:
    children = [control_plane._etcd, control_plane._api_server, control_plane._controller_manager]
    print(*(child.pid for child in children), flush=True)
    signal.pause()
"""


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    tests = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT],
        cwd=tests,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        alive_before = [_runs(pid) for pid in children]
        parent.send_signal(signal.SIGKILL)

    assert alive_before == [True, True, True]
    wait_for(lambda: not any(_runs(pid) for pid in children), deadline=60, what=f"{children} to end")


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A killed process whose new parent has not read its exit code yet does not run any more.
    return "\nState:\tZ" not in status


def test_the_api_server_can_be_away_for_a_while() -> None:
    with ControlPlane() as control_plane:
        control_plane.kubectl("create", "namespace", "kept")
        control_plane.stop_api_server()
        refused = control_plane.kubectl("get", "namespaces", check=False)
        control_plane.start_api_server()

        assert "refused" in refused
        assert "kept" in control_plane.kubectl("get", "namespaces")
        directory = control_plane.directory

    assert not directory.exists()
