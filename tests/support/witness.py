"""What job pods really wrote: their error_log.txt itself, read on the node, however the pod ended."""

import base64
import json
from pathlib import Path

from support.images import SITE
from support.kind import Cluster

NAME = "sitelog-witness"
PROGRAM = Path(__file__).with_name("witness_program.py")

# Gives all files of a pod that the witness kept: one line for each, its name and its content.
_READ = """
import base64, pathlib, sys
for file in pathlib.Path("/kubelet/sitelog-witness").glob(sys.argv[1] + "_*"):
    print(file.name.partition("_")[2], base64.b64encode(file.read_bytes()).decode())
"""


class Witness:
    """A pod of the tests' own on the node."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def deploy(self) -> None:
        """Start it, unless an earlier run did."""
        self._cluster.kubectl("apply", "--namespace=kube-system", "--filename=-", input=json.dumps(_pod()))
        wait = ("wait", f"pod/{NAME}", "--for=condition=Ready", "--timeout=60s")
        self._cluster.kubectl(*wait, "--namespace=kube-system")

    def wrote(self, pod_uid: str) -> dict[str, bytes]:
        """Give the error logs that a pod wrote, by the name of the job's folder."""
        program = ("python3", "-c", _READ, pod_uid)
        said = self._cluster.kubectl("exec", NAME, "--namespace=kube-system", "--", *program)
        return {name: base64.b64decode(text) for name, _, text in (line.partition(" ") for line in said.splitlines())}


def _pod() -> dict[str, object]:
    container = {
        "name": "witness",
        "image": SITE.name,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", PROGRAM.read_text()],
        "volumeMounts": [{"name": "kubelet", "mountPath": "/kubelet"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "kubelet", "hostPath": {"path": "/var/lib/kubelet"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}
