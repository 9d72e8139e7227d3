"""A Kubernetes cluster with real nodes: one that kind makes for this run, or the one that KUBECONFIG names."""

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from support.commands import run, say, step
from support.control_plane.api import Api
from support.control_plane.binaries import tools_folder

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "build" / "e2e"
NAME = "sitelog-e2e"
KEEP = bool(os.environ.get("E2E_KEEP"))
GIVEN = os.environ.get("KUBECONFIG", "")

_ACCOUNT = "sitelog-e2e"  # the tests' own, in kube-system


class Cluster:
    """A cluster that runs.

    Attributes
    ----------
    kubeconfig
        The administrator's.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._helm = shutil.which("helm") or str(tools_folder() / "helm")

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002
        """Run kubectl and return its stdout; unless `check`, stdout and stderr, whatever happened."""
        return run("kubectl", *arguments, input=input, env=self.environment, check=check)

    def helm(self, *arguments: str, check: bool = True) -> str:
        """Run helm, likewise."""
        return run(self._helm, *arguments, env=self.environment, check=check)

    def exists(self, path: str) -> bool:
        """Say whether the API has something there."""
        return self.api.find(path) is not None

    def close(self) -> None:
        """Talk to it no more."""
        if "api" in self.__dict__:  # otherwise nobody has
            self.api.close()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a program talk to this cluster."""
        return {"KUBECONFIG": str(self.kubeconfig)}

    @cached_property
    def api(self) -> Api:
        """The API as plain JSON, without a process for each question; any thread may use it."""
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
        server = config["clusters"][0]["cluster"]
        authority = FOLDER / "ca.crt"
        authority.write_bytes(base64.b64decode(server["certificate-authority-data"]))
        return Api(server["server"], authority, self._token())

    def _token(self) -> str:
        subject = {"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": "kube-system"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        metadata = {"name": _ACCOUNT, "namespace": "kube-system"}
        binding = {"metadata": {"name": _ACCOUNT}, "subjects": [subject], "roleRef": role}
        for manifest in (
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", **binding},
        ):
            self.kubectl("apply", "--filename=-", input=json.dumps(manifest))
        return self.kubectl("create", "token", _ACCOUNT, "--namespace=kube-system", "--duration=12h").strip()


@contextmanager
def running_cluster(failed: Callable[[], bool]) -> Iterator[Cluster]:
    """Provide the cluster; if anything failed, keep what can be known about it; delete it at the end if it is ours.

    Parameters
    ----------
    failed
        Asked at the end: whether any test failed.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    _require_programs("kubectl", *(() if GIVEN else ("kind", "docker")))
    cluster = _given() if GIVEN else _made()
    broken = True
    try:
        yield cluster
        broken = failed()
    finally:
        if broken:
            _keep_records(cluster)
        cluster.close()
        if KEEP:
            say(f"kept: KUBECONFIG={cluster.kubeconfig}")
        elif not GIVEN:
            run("kind", "delete", "cluster", f"--name={NAME}")


def _given() -> Cluster:
    say(f"using the cluster of KUBECONFIG={GIVEN}; its nodes must have the images: they are neither built nor loaded")
    return Cluster(Path(GIVEN))


def _made() -> Cluster:
    kubeconfig = FOLDER / "kubeconfig"
    if NAME in run("kind", "get", "clusters").split():
        if KEEP:
            say(f"using the kind cluster {NAME} of an earlier run")
            run("kind", "export", "kubeconfig", f"--name={NAME}", f"--kubeconfig={kubeconfig}")
            return Cluster(kubeconfig)
        run("kind", "delete", "cluster", f"--name={NAME}")
    image = os.environ.get("KIND_NODE_IMAGE")
    arguments = [f"--name={NAME}", f"--kubeconfig={kubeconfig}", f"--config={ROOT / 'tests/e2e/kind.yaml'}"]
    with step(f"creating the kind cluster {NAME}"):
        run("kind", "create", "cluster", *arguments, "--wait=120s", *([f"--image={image}"] if image else []))
    return Cluster(kubeconfig)


def _require_programs(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise RuntimeError(
            f"the tests on real nodes need {' and '.join(missing)} on PATH (https://kind.sigs.k8s.io), or a cluster of "
            "yours in KUBECONFIG, and kubectl"
        )


def _keep_records(cluster: Cluster) -> None:
    """Write down what a person needs to see why a run failed."""
    folder = FOLDER / "failed"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    for name, arguments in {
        "objects.txt": ("get", "all,configmaps,pvc,sitelogpolicies", "--all-namespaces", "--output=wide"),
        "events.txt": ("get", "events", "--all-namespaces", "--sort-by=.metadata.creationTimestamp"),
        "pods.yaml": ("get", "pods", "--all-namespaces", "--output=yaml"),
        "policies.yaml": ("get", "sitelogpolicies", "--all-namespaces", "--output=yaml"),
        "nodes.txt": ("describe", "nodes"),
    }.items():
        (folder / name).write_text(cluster.kubectl(*arguments, check=False))
    pods = cluster.kubectl("get", "pods", "--all-namespaces", "--no-headers", check=False)
    for line in pods.splitlines():
        namespace, pod = line.split()[:2]
        log = cluster.kubectl("logs", pod, f"--namespace={namespace}", "--all-containers", "--prefix", check=False)
        (folder / "logs" / f"{namespace}_{pod}.log").write_text(log)
    if not GIVEN:
        run("kind", "export", "logs", str(folder / "kind"), f"--name={NAME}", check=False)
    say(f"something failed: objects, events and logs are in {folder}")
