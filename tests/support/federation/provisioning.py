"""The startup kits of a small project, made by `nvflare provision`: a server, one site, couriers and admins."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

SITE = "site-1"
COURIER = "courier-1"  # a client participant: may send, may not look at what is stored
MEMBER = "courier@sitelog.dev"  # a member: may look as well, since the server's authorization.json says so
LEAD = "lead@sitelog.dev"  # may log in, and look at no job but its own: NVFlare's default
ADMIN = "admin@sitelog.dev"

_KIT_FILES = ("fed_client.json", "fed_admin.json", "rootCA.pem", "client.crt", "client.key")


def provision(directory: Path, server: str, **of_server: object) -> Path:
    """Provision a project whose server has a name and further properties; return the folder that has the kits."""
    impl = "nvflare.lighter.impl"
    project = {
        "api_version": 3,
        "name": "sitelog",
        "participants": [
            _participant(server, "server", **of_server),
            _participant(SITE, "client"),
            _participant(COURIER, "client"),
            _participant(MEMBER, "admin", role="member"),
            _participant(LEAD, "admin", role="lead"),
            _participant(ADMIN, "admin", role="project_admin"),
        ],
        "builders": [
            {"path": f"{impl}.workspace.WorkspaceBuilder"},
            {"path": f"{impl}.static_file.StaticFileBuilder", "args": {"config_folder": "config", "scheme": "tcp"}},
            {"path": f"{impl}.cert.CertBuilder"},
            {"path": f"{impl}.signature.SignatureBuilder"},
        ],
    }
    (directory / "project.yml").write_text(yaml.safe_dump(project))
    nvflare(directory, "provision", "-p", "project.yml", "-w", "provisioned")
    kits = directory / "provisioned" / "sitelog" / "prod_00"
    if not (kits / SITE).is_dir():
        raise RuntimeError(f"nvflare provision made no kit for {SITE} in {kits}")
    edit(kits / server, _let_members_look, "authorization.json")
    return kits


def nvflare(directory: Path, *arguments: str, **env: str) -> str:
    """Run NVFlare's command in a folder, where it also keeps its settings; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "nvflare.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=directory,
        check=False,
        env={**os.environ, **env, "HOME": str(directory)},
    )
    if done.returncode != 0:
        raise RuntimeError(f"nvflare {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def edit(kit: Path, change: Callable[[dict[str, Any]], None], file: str = "resources.json") -> None:
    """Change a JSON file of a kit's `local` folder; NVFlare prefers it to its own `.default` beside it."""
    path = kit / "local" / file
    source = path if path.exists() else path.with_name(f"{file}.default")
    value = json.loads(source.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2))


def kit_files(kit: Path) -> list[Path]:
    """Give those files of a participant's kit that a connection needs."""
    return [path for name in _KIT_FILES if (path := kit / "startup" / name).exists()]


def _participant(name: str, kind: str, **more: object) -> dict[str, object]:
    return {"name": name, "type": kind, "org": "sitelog", **more}


def _let_members_look(authorization: dict[str, Any]) -> None:
    """The one right beyond NVFlare's default: a member may see and fetch what is stored of a job."""
    member = authorization["permissions"]["member"]
    member.update(list_job="any", download_job_components="any")
