"""Pods that a test plays by hand: each method writes what a kubelet would, in the order in which it would."""

import http.client

from support.control_plane.api import STRATEGIC_MERGE_PATCH, Api, ApiError, Json
from support.kubelet.logs import LogStore
from support.kubelet.status import SIGKILLED, container_status, now, pod_status, running, terminated, waiting
from support.wait import wait_for


class PodsByHand:
    """The node's hands: binds pods, writes their status and logs, deletes them.

    Attributes
    ----------
    api
        An administrator's access.
    name
        The node's.
    """

    def __init__(self, api: Api, node: str, logs: LogStore) -> None:
        self.api = api
        self.name = node
        self._logs = logs

    def bind(self, namespace: str, name: str) -> None:
        """Put a pod on the node, as the scheduler does; its containers are being created."""
        pod = self._pod(namespace, name)
        if "nodeName" not in pod["spec"]:
            self._bind(pod)
            pod = self._pod(namespace, name)
        self._logs.of(namespace, name, pod["metadata"]["uid"])
        self._write(pod, "Pending", {spec["name"]: _unstarted(pod) for spec in _specs(pod)})

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

    def set_running(self, namespace: str, name: str, *, only: str | None = None) -> None:
        """Let every container run, or only one (binds the pod before, where that was not done)."""
        pod = self._bound(namespace, name)
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        names = [spec["name"] for spec in _specs(pod) if only in (None, spec["name"])]
        for container in names:
            logs.current(container)
        self._write(pod, "Running", {container: running() for container in names})

    def restart(self, namespace: str, name: str, container: str) -> None:
        """Let a container end and run again, with a log of its own."""
        pod = self._pod(namespace, name)
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        before = logs.current(container)
        logs.begin(container)
        before.ended.set()
        self._write(pod, "Running", {container: running()})

    def append_log(self, namespace: str, name: str, container: str | None, data: bytes) -> None:
        """Write to a container's log (None: the first regular container)."""
        pod = self._pod(namespace, name)
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        logs.current(container or pod["spec"]["containers"][0]["name"]).append(data)

    def remove_container(self, namespace: str, name: str, container: str) -> None:
        """End a container and forget it, as a kubelet does with one that it kills: who asks for its log is refused."""
        pod = self._pod(namespace, name)
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        logs.current(container).ended.set()
        del logs.runs[container]

    def wait_followed(self, namespace: str, name: str, container: str | None = None, *, times: int = 1) -> None:
        """Wait until somebody follows a container's log (None: the first regular container), for the n-th time."""
        pod = self._pod(namespace, name)
        logs = self._logs.of(namespace, name, pod["metadata"]["uid"])
        log = logs.current(container or pod["spec"]["containers"][0]["name"])
        wait_for(lambda: log.followed >= times, 60, f"somebody to follow the log of {name}")

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
        """Delete a pod. Without grace its logs are gone at once, as NVFlare's launcher does it.

        The pod too, unless a finalizer holds it: then it has ended, as the kubelet says.
        """
        pod = self._pod(namespace, name)
        left = self.api.delete(pod_path(pod), {"gracePeriodSeconds": grace})
        if grace == 0:
            if left["metadata"].get("finalizers"):
                self._kill(left)
            self._logs.drop(namespace, name, pod["metadata"]["uid"])

    def _kill(self, pod: Json) -> None:
        """End a pod that is being deleted; what has not started by then, waits for ever."""
        if pod["status"].get("phase") == "Running":
            self.terminate(pod["metadata"]["namespace"], pod["metadata"]["name"], exit_code=SIGKILLED)
        elif pod["status"].get("containerStatuses"):
            init, regular = _split(pod)
            lost = {spec["name"]: terminated(SIGKILLED, "ContainerStatusUnknown", {}) for spec in init}
            never = {spec["name"]: _unstarted(pod) for spec in regular}
            self._write(pod, "Failed", lost | never)

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

    def _bind(self, pod: Json) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": self.name}
        try:
            self.api.create(
                f"{pod_path(pod)}/binding", {"metadata": {"name": pod["metadata"]["name"]}, "target": target}
            )
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
        answer: Json = self.api.patch(f"{pod_path(pod)}/status", {"status": status}, STRATEGIC_MERGE_PATCH)
        return answer


def pod_path(pod: Json) -> str:
    """Return the pod's path in the API."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _unstarted(pod: Json) -> Json:
    """Give what the kubelet says of a container that it has not started."""
    return waiting("PodInitializing" if _split(pod)[0] else "ContainerCreating")


def _split(pod: Json) -> tuple[list[Json], list[Json]]:
    return pod["spec"].get("initContainers", []), pod["spec"]["containers"]


def _specs(pod: Json) -> list[Json]:
    init, regular = _split(pod)
    return [*init, *regular]


def _statuses(pod: Json) -> dict[str, Json]:
    status = pod["status"]
    both = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return {entry["name"]: entry for entry in both}
