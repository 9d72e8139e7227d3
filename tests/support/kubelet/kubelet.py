"""A node without a machine: runs Sitelog's own pods as local processes and lets a test play all others by hand.

Logs of both kinds are served for real: `kubectl logs` and every client read them through the API server.
"""

import contextlib
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Self

from sitelog.core.names import LABEL_UPLOAD
from support.control_plane.api import Api, ApiError, Json, Watch
from support.control_plane.control_plane import ControlPlane
from support.control_plane.keys import write_serving_pair
from support.kubelet.container import Container, Ports
from support.kubelet.hand import PodsByHand, pod_path
from support.kubelet.logs import LogServer, LogStore
from support.kubelet.pod import NO_ANSWER, PodRunner
from support.kubelet.proxy import ServiceProxy
from support.kubelet.status import HOST, SIGKILLED, now
from support.kubelet.volumes import Volumes, reader

ASK_AGAIN_AFTER = 0.2
SERVED_RESOURCES = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "500"}


class PlayedKubelet(PodsByHand):
    """Context manager: one Ready node that plays its kubelet until the end.

    Pods labelled `app.kubernetes.io/name: sitelog` or `sitelog.dev/upload: "true"` are bound and run: their command (by
    default this environment's `sitelog`) with paths, ports and the pod's identity translated to this host. Every other
    pod waits for the methods of PodsByHand. A graceful deletion of any pod of the node is carried out.

    Not played: init containers and liveness probes of Sitelog's own pods, resource limits, security contexts.
    """

    def __init__(self, control_plane: ControlPlane, name: str = "played-node") -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=control_plane.directory))
        super().__init__(control_plane.api, name, LogStore(self._directory / "logs"))
        self.control_plane = control_plane
        self.ports = Ports()
        self._runners: dict[str, PodRunner] = {}
        self._stopped = threading.Event()
        self._watch: Watch | None = None
        self._watch_lock = threading.Lock()
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:  # undoes what was done when a later step fails
            server = LogServer(self._logs, write_serving_pair(self._directory, "kubelet"))
            stack.callback(server.close)
            self._proxy = ServiceProxy(self._ready_ports)
            stack.callback(self._proxy.close)
            register_node(self.api, self.name, server.port)
            stack.callback(self._unregister)
            thread = threading.Thread(target=self._keep_watching, name="kubelet")
            thread.start()
            stack.callback(self._stop_pods)
            stack.callback(thread.join)
            stack.callback(self._stop_watching)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    # --- Sitelog's own pods ------------------------------------------------------------------------------------------

    def local_port(self, namespace: str, name: str, port: int | str) -> int:
        """Port on 127.0.0.1 behind a declared port (number or name) of a running pod."""
        runner = self._runners.get(self._pod(namespace, name)["metadata"]["uid"])
        for container in runner.containers if runner else []:
            names = {entry.get("name") for entry in container.spec.get("ports", [])}
            if port in container.ports or port in names:
                return container.local_port(port)
        raise KeyError(f"pod {namespace}/{name} has no running container with port {port}")

    def expose(self, namespace: str, service: str, port: int) -> int:
        """Play kube-proxy for one port of a Service: a port on 127.0.0.1 that leads to its Ready pods.

        The Service may come later; the port stays the same until the end.
        """
        return self._proxy.listen(namespace, service, port)

    def run_process(self, namespace: str, name: str) -> Container:
        """Run the container of a pod played by hand as a process, its log included; give it, to be stopped.

        Nobody looks after it: whoever called this says by `terminate` how the pod has ended. The pod's volumes are made
        once, one mounted into another included.
        """
        self.bind(namespace, name)
        pod = self._pod(namespace, name)
        (spec,), directory = pod["spec"]["containers"], self._directory / "pods" / pod["metadata"]["uid"]
        read = reader(self.api.get, namespace)
        volumes = Volumes(pod, directory / "volumes", read, lambda: self.pod_token(pod))
        volumes.mount()
        places = {Path(mounted): Path(local) for mounted, local in volumes.local_paths(spec).items()}
        for inner, local in places.items():
            if inner.parent in places:
                shutil.copytree(local, places[inner.parent] / inner.name, ignore=shutil.ignore_patterns("..*"))
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        container = Container(pod, spec, directory / "containers", logs, self.ports)
        container.tend(volumes, read, None)
        self.set_running(namespace, name)
        return container

    def write_pod_kubeconfig(self, pod: Json, path: Path) -> Path:
        """Write a kubeconfig for the pod's service account."""
        return self.control_plane.write_kubeconfig(path, self.pod_token(pod), pod["metadata"]["namespace"])

    def pod_token(self, pod: Json) -> str:
        """Make a token that dies with the pod."""
        metadata = pod["metadata"]
        return self.control_plane.service_account_token(
            metadata["namespace"], pod["spec"]["serviceAccountName"], pod=(metadata["name"], metadata["uid"])
        )

    def _ready_ports(self, namespace: str, service: str, port: int) -> list[int]:
        """Local ports of the Ready pods behind a Service's port."""
        spec = self.api.get(f"/api/v1/namespaces/{namespace}/services/{service}")["spec"]
        targets = [entry.get("targetPort", port) for entry in spec["ports"] if entry["port"] == port]
        selector = spec["selector"].items()
        found = []
        for runner in list(self._runners.values()):
            metadata = runner.pod["metadata"]
            if metadata["namespace"] == namespace and selector <= metadata.get("labels", {}).items() and runner.ready:
                found += [c.local_port(target) for c in runner.containers if c.ports for target in targets]
        return found

    # --- the node's own work -----------------------------------------------------------------------------------------

    def _unregister(self) -> None:
        with contextlib.suppress(ApiError, *NO_ANSWER):  # nobody misses it where no API server is left
            self.api.delete(f"/api/v1/nodes/{self.name}")

    def _stop_watching(self) -> None:
        self._stopped.set()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.stop()

    def _stop_pods(self) -> None:
        for runner in self._runners.values():
            runner.shut_down()
        for runner in self._runners.values():
            runner.join()

    def _keep_watching(self) -> None:
        while not self._stopped.is_set():
            try:
                listed = self.api.get("/api/v1/pods")
                self._align(listed["items"])
                self._follow(listed["metadata"]["resourceVersion"])
            except (ApiError, ValueError, *NO_ANSWER):  # the API server is away, or the watch broke in a line
                self._stopped.wait(ASK_AGAIN_AFTER)

    def _follow(self, version: str) -> None:
        watch = self.api.watch("/api/v1/pods", resourceVersion=version, allowWatchBookmarks="true")
        with self._watch_lock:
            self._watch = watch
            if self._stopped.is_set():
                watch.stop()
        for event in watch:
            match event["type"]:
                case "ADDED" | "MODIFIED":
                    self._seen(event["object"])
                case "DELETED":
                    self._gone(event["object"])
                case "ERROR":
                    return  # expired: list again

    def _align(self, pods: list[Json]) -> None:
        """Bring the node into line with a fresh list."""
        present = {pod["metadata"]["uid"] for pod in pods}
        for uid, runner in list(self._runners.items()):
            if uid not in present:
                self._gone(runner.pod)
        for pod in pods:
            self._seen(pod)

    def _seen(self, pod: Json) -> None:
        node = pod["spec"].get("nodeName")
        deleted = "deletionTimestamp" in pod["metadata"]
        if node is None and _is_ours(pod) and not deleted:
            self._bind(pod)
        elif node == self.name and _is_ours(pod):
            self._run(pod)
        elif node == self.name and deleted:
            self._finish_deletion(pod)

    def _run(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        deleted = "deletionTimestamp" in pod["metadata"]
        if uid not in self._runners:
            if pod["status"].get("phase") in {"Succeeded", "Failed"}:
                return
            logs = self._logs.of(pod["metadata"]["namespace"], pod["metadata"]["name"], uid)
            self._runners[uid] = PodRunner(self, pod, self._directory / "pods" / uid, logs)
        if deleted:
            self._runners[uid].delete(pod["metadata"].get("deletionGracePeriodSeconds", 0))

    def _gone(self, pod: Json) -> None:
        metadata = pod["metadata"]
        if runner := self._runners.pop(metadata["uid"], None):
            runner.gone()
            runner.join()
        self._logs.drop(metadata["namespace"], metadata["name"], metadata["uid"])

    def _finish_deletion(self, pod: Json) -> None:
        """Carry out the graceful deletion of a pod played by hand: its containers do not heed SIGTERM."""
        metadata = pod["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == 0:
            return  # nothing is left to do for a kubelet; a finalizer keeps it
        if pod["status"].get("phase") == "Running":
            self.terminate(metadata["namespace"], metadata["name"], exit_code=SIGKILLED)
        self.api.delete(pod_path(pod), {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}})


def register_node(api: Api, name: str, log_port: int) -> None:
    """Make a node that is Ready, and whose pods' logs are read from a port of this host."""
    capacity = {"capacity": SERVED_RESOURCES, "allocatable": SERVED_RESOURCES}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": now()}
    status = {
        **capacity,
        "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        "conditions": [ready],
    }
    api.create("/api/v1/nodes", {"metadata": {"name": name}, "status": status})
    api.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})  # admission adds not-ready


def _is_ours(pod: Json) -> bool:
    labels: dict[str, str] = pod["metadata"].get("labels", {})
    return labels.get("app.kubernetes.io/name") == "sitelog" or labels.get(LABEL_UPLOAD) == "true"
