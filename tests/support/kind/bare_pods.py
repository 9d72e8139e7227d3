"""Job pods as NVFlare's launcher makes them, whose worker only writes records and ends.

Many at once, which NVFlare's own jobs are too heavy for. The FL server knows their jobs: they are submitted, for a site
that does not exist.
"""

import json
import runpy
from pathlib import Path

from sitelog.core.names import WORKER_MODULE
from support.control_plane.api import Json
from support.federation.jobs import write_job
from support.federation.provisioning import SITE
from support.kind.images import SITE as SITE_IMAGE
from support.kind.site_on_kind import SERVER, Site

PROGRAM = Path(__file__).parents[2] / "data" / "jobs" / "bare_worker.py"
WORKSPACE = "/var/tmp/nvflare/workspace"

_CODE = "bare-worker"
_LIBRARY = "/bare"
_WORKER = runpy.run_path(str(PROGRAM))


def written(job_id: str, ending: str, errors: int) -> bytes:
    """Give what such a worker writes to its error log."""
    records = "".join(_WORKER["record"](number, job_id) for number in range(1, errors + 1))
    return (records + (_WORKER["HALF"] if ending == "killed" else "")).encode()


class BarePods:
    """Makes such pods in the site's namespace."""

    def __init__(self, site: Site, directory: Path) -> None:
        self._site = site
        self._jobs = directory
        packages = WORKER_MODULE.split(".")[:-1]
        self._items = [
            {"key": "nothing", "path": "/".join([*packages[:depth], "__init__.py"])}
            for depth in range(1, len(packages) + 1)
        ]
        self._items.append({"key": "worker", "path": WORKER_MODULE.replace(".", "/") + ".py"})

    def prepare(self) -> None:
        """Bring the worker's code into the cluster."""
        data = {"nothing": "", "worker": PROGRAM.read_text()}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _CODE}, "data": data}
        here = f"--namespace={self._site.namespace}"
        self._site.cluster.kubectl("apply", "--filename=-", here, input=json.dumps(manifest))

    def job(self, name: str) -> str:
        """Submit a job that no site will ever run, and give its id."""
        return self._site.submit(write_job(self._jobs, name, meta={"min_clients": 2}))

    def create(self, name: str, job_id: str, ending: str, *, errors: int, end_at: float, **spec: object) -> Json:
        """Create a pod that writes and, at that Unix time, ends as `ending` says; `spec` goes over the pod's."""
        body = self.manifest(name, job_id, ending, errors=errors, end_at=end_at, **spec)
        return dict(self._site.cluster.api.create(f"/api/v1/namespaces/{self._site.namespace}/pods", body))

    def manifest(self, name: str, job_id: str, ending: str, *, errors: int, end_at: float, **spec: object) -> Json:
        """Give what `create` creates."""
        environment = {"PYTHONPATH": _LIBRARY, "ENDING": ending, "ERRORS": str(errors), "END_AT": str(end_at)}
        arguments = ["-m", WORKSPACE, "-w", f"{WORKSPACE}/startup", "-n", job_id, "-c", SITE]
        arguments += ["-p", f"stcp://{SITE}:8102", "-g", f"{SERVER}:8002", "-scheme", "http", "-s", "fed_client.json"]
        container = {
            "name": f"container-{name}",
            "image": SITE_IMAGE.name,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/usr/local/bin/python3"],
            "args": ["-u", "-m", WORKER_MODULE, *arguments, "--set", "secure_train=true", f"uid={SITE}"],
            "env": [{"name": key, "value": value} for key, value in environment.items()],
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "5m", "memory": "16Mi"}},
            "volumeMounts": [
                {"name": "workspace-job", "mountPath": WORKSPACE},
                {"name": "code", "mountPath": _LIBRARY, "readOnly": True},
            ],
        }
        changes = dict(spec)
        container |= {"image": changes.pop("image")} if "image" in changes else {}
        return {
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "containers": [container],
                "volumes": [
                    {"name": "workspace-job", "emptyDir": {}},
                    {"name": "code", "configMap": {"name": _CODE, "items": self._items}},
                ],
                **changes,
            },
        }
