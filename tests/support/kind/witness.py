"""What job pods really wrote: their error_log.txt itself, read on the node, however the pod ended."""

import base64
import io
import json
import tarfile
from pathlib import Path

from support.kind.images import SITE
from support.kind.kind import Cluster
from support.wait import wait_for

NAME = "sitelog-witness"
PROGRAM = Path(__file__).with_name("witness_program.py")

# Gives all files that the witness kept of a pod, or of all, compressed: kubectl may lose the end of what is long.
_READ = """
import base64, io, pathlib, sys, tarfile
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz") as archive:
    for file in pathlib.Path("/kubelet/sitelog-witness").glob(sys.argv[1] + "_*"):
        archive.add(file, file.name)
print(base64.b64encode(packed.getvalue()).decode() + " whole")
"""


class Witness:
    """A pod of the tests' own on the node."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def deploy(self) -> None:
        """Start it, unless an earlier run did."""
        self._cluster.kubectl("apply", "--namespace=kube-system", "--filename=-", input=json.dumps(_pod()))
        wait = ("wait", f"pod/{NAME}", "--for=condition=Ready", "--timeout=90s")
        self._cluster.kubectl(*wait, "--namespace=kube-system")

    def wrote(self, pod_uid: str) -> dict[str, bytes]:
        """Give the error logs that a pod wrote, by the name of the job's folder."""
        return {job: log for (_, job), log in self._read(pod_uid).items()}

    def everything(self) -> dict[tuple[str, str], bytes]:
        """Give all error logs, by the pod's uid and the name of the job's folder."""
        return self._read("*")

    def _read(self, pods: str) -> dict[tuple[str, str], bytes]:
        ask = ("exec", NAME, "--namespace=kube-system", "--", "python3", "-c", _READ, pods)

        def answer() -> str:
            said = self._cluster.kubectl(*ask, check=False)  # whatever happened: a node that restarts is asked again
            return said if said.endswith(" whole\n") else ""

        said = wait_for(answer, 60, "the witness's whole answer", every=0.5)
        found = {}
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(said.split()[0]))) as archive:
            for file in archive:
                content = archive.extractfile(file)
                assert content is not None
                pod, _, job = file.name.partition("_")
                found[pod, job] = content.read()
        return found


def _pod() -> dict[str, object]:
    container = {
        "name": "witness",
        "image": SITE.name,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", PROGRAM.read_text()],
        "resources": {"requests": {"cpu": "100m"}},  # a file is there for a second or two, on however busy a node
        "volumeMounts": [{"name": "kubelet", "mountPath": "/kubelet"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "kubelet", "hostPath": {"path": "/var/lib/kubelet"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}
