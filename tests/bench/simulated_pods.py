"""Job pods by the hundred on nodes without machines: made through the real webhook, their status written by us."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.simulated_logs import SimulatedLogs
from sitelog.core.names import SIDECAR
from support.control_plane.api import STRATEGIC_MERGE_PATCH, Api, Json
from support.kubelet.kubelet import register_node
from support.kubelet.status import container_status, pod_status, running, terminated
from support.pods.job_pods import job_pod
from support.pods.sidecar_output import sidecar_output

NODES = 10
_AT_ONCE = 8


class SimulatedPods:
    """The job pods of one namespace, by name."""

    def __init__(self, api: Api, namespace: str, logs: SimulatedLogs) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._logs = logs
        for number in range(NODES):
            register_node(api, _node(number), logs.port)

    def start(self, numbers: Sequence[int]) -> None:
        """Make pods that run, and whose sidecars have written nothing."""
        self._logs.write(map(name_of, numbers), b"")
        _each(self._start, numbers)

    def write(self, numbers: Sequence[int], records: bytes) -> None:
        """Let every job write to its error log."""
        self._logs.write(map(name_of, numbers), records)

    def fail(self, numbers: Sequence[int], records: bytes) -> None:
        """Let jobs end that have written this to their error logs."""
        rest = sidecar_output(records).removeprefix(records)
        self._logs.write(map(name_of, numbers), rest, last=True)
        _each(self._fail, numbers)

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete them at once."""
        _each(lambda number: self._api.delete(f"{self._path}/{name_of(number)}", {"gracePeriodSeconds": 0}), numbers)
        self._logs.drop(map(name_of, numbers))

    def _start(self, number: int) -> None:
        pod = job_pod(name_of(number))
        pod["spec"]["nodeName"] = _node(number % NODES)
        made: Json = self._api.create(self._path, pod)
        if [container["name"] for container in made["spec"].get("initContainers", [])] != [SIDECAR]:
            raise RuntimeError("the webhook gave a job pod no sidecar")
        self._write(made, "Running", lambda _: running())

    def _fail(self, number: int) -> None:
        pod: Json = self._api.get(f"{self._path}/{name_of(number)}")
        self._write(pod, "Failed", lambda name: terminated(0 if name == SIDECAR else 1, None, {}))

    def _write(self, pod: Json, phase: str, state: Callable[[str], Json]) -> None:
        init, regular = (
            [container_status(spec, state(spec["name"])) for spec in pod["spec"][kind]]
            for kind in ("initContainers", "containers")
        )
        status = {"status": pod_status(pod, phase, regular, init)}
        self._api.patch(f"{self._path}/{pod['metadata']['name']}/status", status, STRATEGIC_MERGE_PATCH)


def name_of(number: int) -> str:
    """Name of a pod."""
    return f"job-{number}"


def _node(number: int) -> str:
    return f"simulated-{number}"


def _each(function: Callable[[int], object], numbers: Iterable[int]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(function, numbers))
