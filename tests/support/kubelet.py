"""A node without a machine: runs Sitelog's own pods as local processes and lets a test play all others by hand.

Logs of both kinds are served for real: `kubectl logs` and every client read them through the API server.
"""

import http.client
import threading
from pathlib import Path
from typing import Self

from sitelog.core.names import LABEL_UPLOAD
from support.control_plane import ControlPlane
from support.control_plane_api import STRATEGIC_MERGE_PATCH, Api, ApiError, Json, Watch
from support.control_plane_keys import write_serving_pair
from support.kubelet_container import Ports
from support.kubelet_logs import LogServer, LogStore
from support.kubelet_pod import NO_ANSWER, PodRunner
from support.kubelet_proxy import ServiceProxy
from support.kubelet_status import HOST, SIGKILLED, container_status, now, pod_status, running, terminated, waiting

ASK_AGAIN_AFTER = 0.2
SERVED_RESOURCES = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "500"}


class PlayedKubelet:
    """Context manager: one Ready node that plays its kubelet until the end.

    Pods labelled `app.kubernetes.io/name: sitelog` or `sitelog.dev/upload: "true"` are bound and run: their command (by
    default this environment's `sitelog`) with paths, ports and the pod's identity translated to this host. Every other
    pod waits for the methods below. A graceful deletion of any pod of the node is carried out.

    Not played: init containers and liveness probes of Sitelog's own pods, resource limits, security contexts.
    """

    def __init__(self, control_plane: ControlPlane, name: str = "played-node") -> None:
        self.control_plane = control_plane
        self.name = name
        self.api: Api = control_plane.api
        self.ports = Ports()
        self._directory = control_plane.directory / name
        self._logs = LogStore(self._directory / "logs")
        self._runners: dict[str, PodRunner] = {}
        self._stopped = threading.Event()
        self._watch: Watch | None = None
        self._watch_lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_watching, name="kubelet")

    def __enter__(self) -> Self:
        self._directory.mkdir()
        self._server = LogServer(self._logs, write_serving_pair(self._directory, "kubelet"))
        self._proxy = ServiceProxy(self._ready_ports)
        self._register()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.stop()
        self._thread.join()
        for runner in self._runners.values():
            runner.shut_down()
        for runner in self._runners.values():
            runner.join()
        self._proxy.close()
        self._server.close()

    # --- a pod played by hand ----------------------------------------------------------------------------------------

    def bind(self, namespace: str, name: str) -> None:
        """Put a pod on the node, as the scheduler does; its containers are being created."""
        pod = self._pod(namespace, name)
        if "nodeName" not in pod["spec"]:
            self._bind(pod)
            pod = self._pod(namespace, name)
        self._logs.of(namespace, name, pod["metadata"]["uid"])
        word = waiting("PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating")
        self._write(pod, "Pending", {spec["name"]: word for spec in _specs(pod)})

    def set_waiting(
        self, namespace: str, name: str, reason: str, message: str | None = None, *, container: str | None = None
    ) -> None:
        """Let a container wait, for instance with ErrImagePull: the named one, else the first one to start."""
        pod = self._bound(namespace, name)
        init, regular = _split(pod)
        stuck = {container} if container else {spec["name"] for spec in init[:1] or regular}
        words = {name: waiting(reason, message) for name in stuck}
        others = waiting("PodInitializing")
        self._write(pod, "Pending", {spec["name"]: words.get(spec["name"], others) for spec in _specs(pod)})

    def set_running(self, namespace: str, name: str) -> None:
        """Let every container run (binds the pod before, where that was not done)."""
        pod = self._bound(namespace, name)
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        for spec in _specs(pod):
            logs.current(spec["name"])
        self._write(pod, "Running", {spec["name"]: running() for spec in _specs(pod)})

    def append_log(self, namespace: str, name: str, container: str | None, data: bytes) -> None:
        """Write to a container's log (None: the first regular container)."""
        pod = self._pod(namespace, name)
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        logs.current(container or pod["spec"]["containers"][0]["name"]).append(data)

    def terminate(
        self,
        namespace: str,
        name: str,
        *,
        exit_code: int,
        reason: str | None = None,
        message: str | None = None,
    ) -> None:
        """End a pod in the steps a kubelet reports: regular containers, then sidecars (exit 0), then the phase.

        Parameters
        ----------
        reason
            Of the container, for instance "OOMKilled"; None: Completed or Error.
        message
            Termination message of the container.
        """
        pod = self._pod(namespace, name)
        init, regular = _split(pod)
        before = _statuses(pod)
        ended = {spec["name"]: terminated(exit_code, reason, before.get(spec["name"], {}), message) for spec in regular}
        self._end_logs(pod, regular)
        pod = self._write(pod, pod["status"]["phase"], ended)
        if init:
            self._end_logs(pod, init)
            stopped = {spec["name"]: terminated(0, None, before.get(spec["name"], {})) for spec in init}
            pod = self._write(pod, pod["status"]["phase"], stopped)
        self._write(pod, "Succeeded" if exit_code == 0 else "Failed", {})

    def evict(
        self, namespace: str, name: str, message: str = "The node was low on resource: ephemeral-storage."
    ) -> None:
        """End a pod as a kubelet that runs short of something: containers killed, then Failed with reason Evicted."""
        pod = self._pod(namespace, name)
        before = _statuses(pod)
        self.event(pod, "Evicted", message)
        self._end_logs(pod, _specs(pod))
        killed = {spec["name"]: terminated(SIGKILLED, None, before.get(spec["name"], {})) for spec in _specs(pod)}
        pod = self._write(pod, pod["status"]["phase"], killed)
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": message,
            "lastTransitionTime": now(),
        }
        self._write(pod, "Failed", {}, {"reason": "Evicted", "message": message}, condition)

    def delete(self, namespace: str, name: str, grace: int = 0) -> None:
        """Delete a pod. Without grace it is gone at once, with its logs, as NVFlare's launcher does it."""
        pod = self._pod(namespace, name)
        self.api.delete(_path(pod), {"gracePeriodSeconds": grace})
        if grace == 0:
            self._logs.drop(namespace, name, pod["metadata"]["uid"])

    def event(self, pod: Json, reason: str, message: str, kind: str = "Warning") -> None:
        """Record an Event about a pod (the whole object), as this node's kubelet."""
        metadata = pod["metadata"]
        about = {"apiVersion": "v1", "kind": "Pod", "fieldPath": ""}
        about |= {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
        body: Json = {
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": "kubelet", "host": self.name},
            "reportingComponent": "kubelet",
            "reportingInstance": self.name,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        self.api.create(f"/api/v1/namespaces/{metadata['namespace']}/events", body)

    # --- Sitelog's own pods ------------------------------------------------------------------------------------------

    def local_port(self, namespace: str, name: str, port: int | str) -> int:
        """Port on 127.0.0.1 behind a declared port (number or name) of a running pod."""
        uid = self._pod(namespace, name)["metadata"]["uid"]
        for container in self._runners[uid].containers:
            names = {entry.get("name") for entry in container.spec.get("ports", [])}
            if port in container.ports or port in names:
                return container.local_port(port)
        raise KeyError(f"pod {namespace}/{name} has no running container with port {port}")

    def expose(self, namespace: str, service: str, port: int) -> int:
        """Play kube-proxy for one port of a Service: a port on 127.0.0.1 that leads to its Ready pods.

        The Service may come later; the port stays the same until the end.
        """
        return self._proxy.listen(namespace, service, port)

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
        target = next(entry.get("targetPort", port) for entry in spec["ports"] if entry["port"] == port)
        selector = spec["selector"].items()
        found = []
        for runner in list(self._runners.values()):
            metadata = runner.pod["metadata"]
            if metadata["namespace"] == namespace and selector <= metadata.get("labels", {}).items() and runner.ready:
                found += [c.local_port(target) for c in runner.containers if c.ports]
        return found

    # --- the node's own work -----------------------------------------------------------------------------------------

    def _register(self) -> None:
        capacity = {"capacity": SERVED_RESOURCES, "allocatable": SERVED_RESOURCES}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": now()}
        status = {
            **capacity,
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": self.name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.port}},
            "conditions": [ready],
        }
        self.api.create("/api/v1/nodes", {"metadata": {"name": self.name}, "status": status})
        self.api.patch(f"/api/v1/nodes/{self.name}", {"spec": {"taints": None}})  # admission adds not-ready

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
        self.api.delete(_path(pod), {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}})

    def _bind(self, pod: Json) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": self.name}
        try:
            self.api.create(f"{_path(pod)}/binding", {"metadata": {"name": pod["metadata"]["name"]}, "target": target})
        except ApiError as error:
            if error.status not in {http.HTTPStatus.NOT_FOUND, http.HTTPStatus.CONFLICT}:
                raise

    def _pod(self, namespace: str, name: str) -> Json:
        pod: Json = self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        return pod

    def _bound(self, namespace: str, name: str) -> Json:
        if "containerStatuses" not in self._pod(namespace, name)["status"]:
            self.bind(namespace, name)
        return self._pod(namespace, name)

    def _end_logs(self, pod: Json, specs: list[Json]) -> None:
        metadata = pod["metadata"]
        logs = self._logs.of(metadata["namespace"], metadata["name"], metadata["uid"])
        for spec in specs:
            logs.current(spec["name"]).ended.set()

    def _write(
        self, pod: Json, phase: str, states: dict[str, Json], extra: Json | None = None, condition: Json | None = None
    ) -> Json:
        """Write new states of some containers and the phase; the others' stay as they are."""
        before = _statuses(pod)
        init, regular = (
            [
                container_status(
                    spec,
                    states.get(spec["name"]) or before[spec["name"]]["state"],
                    before.get(spec["name"]),
                )
                for spec in specs
            ]
            for specs in _split(pod)
        )
        status = pod_status(pod, phase, regular, init) | (extra or {})
        if condition:
            status["conditions"].append(condition)
        answer: Json = self.api.patch(f"{_path(pod)}/status", {"status": status}, STRATEGIC_MERGE_PATCH)
        return answer


def _is_ours(pod: Json) -> bool:
    labels: dict[str, str] = pod["metadata"].get("labels", {})
    return labels.get("app.kubernetes.io/name") == "sitelog" or labels.get(LABEL_UPLOAD) == "true"


def _path(pod: Json) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _split(pod: Json) -> tuple[list[Json], list[Json]]:
    return pod["spec"].get("initContainers", []), pod["spec"]["containers"]


def _specs(pod: Json) -> list[Json]:
    init, regular = _split(pod)
    return [*init, *regular]


def _statuses(pod: Json) -> dict[str, Json]:
    status = pod["status"]
    both = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return {entry["name"]: entry for entry in both}
