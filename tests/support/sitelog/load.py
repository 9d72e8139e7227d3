"""A load beside whatever is done to Sitelog: jobs' ConfigMaps and pods, made without pause, and every answer read."""

import http.client
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from sitelog.core.names import LABEL_DECISION, LABEL_JOB, SIDECAR
from support.control_plane.api import ApiError, Json
from support.kind.bare_pods import BarePods
from support.kind.chaos import KINDS, Chaos, End, again
from support.kind.kind import Cluster
from support.kind.site_on_kind import Site
from support.sitelog.installation import configmap

CONFIGURATION = json.dumps({"format_version": 2, "executors": [], "components": []})
ENDINGS = [kind for kind in KINDS if kind.name in ("errors, exit code 0", "exit code", "deleted, no grace")]

_PAUSE = 0.05  # seconds between two reviews
_POD_PAUSE = 5.0  # seconds between two pods that run
_REVIEWED = "00000000-0000-4000-8000-000000000000"  # the job of pods that are only reviewed


class Load:
    """Context manager: it goes on until the end of the block, in threads of its own.

    Attributes
    ----------
    stored : how many objects were stored, or would have been.
    wrong : what was refused, or stored as it must not be.
    unanswered : requests that no API server answered.
    """

    def __init__(self, cluster: Cluster, site: Site, chaos: Chaos, bare: BarePods) -> None:
        self._api, self._chaos, self._bare = cluster.api, chaos, bare
        self._namespace = site.namespace
        self._name = f"load-{secrets.token_hex(3)}"
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(24)
        self._running: list[Future[None]] = []
        self._ends: list[Future[End]] = []
        self.stored = 0
        self.wrong: list[str] = []
        self.unanswered: list[str] = []

    def __enter__(self) -> Self:
        self._bare.prepare()
        self._running = [self._pool.submit(each) for each in (self._review, self._run_pods)]
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()

    def ends(self) -> list[End]:
        """Stop, and give what became of the pods that ran."""
        self._over.set()
        for each in self._running:
            each.result()
        ends = [each.result() for each in self._ends]
        for end in ends:
            self._look_at_pod(end.pod, end.job_id)
        return ends

    def check_running(self) -> None:
        """Raise what has ended it, if anything has."""
        for each in self._running:
            if each.done():
                each.result()

    # --- reviews --------------------------------------------------------------------------------------------------

    def _review(self) -> None:
        configmaps = f"/api/v1/namespaces/{self._namespace}/configmaps"
        pods = f"/api/v1/namespaces/{self._namespace}/pods?dryRun=All"
        for number in itertools.count(1):
            if self._over.wait(_PAUSE):
                return
            if not self._ready():
                continue  # clients that come by a load balancer would not meet it
            name = f"{self._name}-{number}"
            body = configmap(self._namespace, name, CONFIGURATION)
            if made := self._try(f"create {name}", lambda: self._api.create(configmaps, body)):  # noqa: B023 - at once
                self._look_at_configmap(made)
            self._remove(f"{configmaps}/{name}")
            pod = self._bare.manifest(f"reviewed-{number}", _REVIEWED, "well", errors=0, end_at=0)
            if made := self._try(f"create {name}", lambda: self._api.create(pods, pod)):  # noqa: B023
                self._look_at_pod(made, _REVIEWED)

    def _ready(self) -> bool:
        try:
            self._api.text("/readyz")
        except (ApiError, OSError, http.client.HTTPException) as error:
            self.unanswered.append(f"ready? {error!r}, {_now()}")
            return False
        return True

    def _look_at_configmap(self, body: Json) -> None:
        self.stored += 1
        decision = body["metadata"].get("labels", {}).get(LABEL_DECISION)
        if decision != "Injected" or "JobLogStreamer" not in body["data"]["config_fed_client.json"]:
            self.wrong.append(f"ConfigMap {body['metadata']['name']} was stored as it came: {decision}, {_now()}")

    def _look_at_pod(self, body: Json, job_id: str) -> None:
        self.stored += 1
        metadata, spec = body["metadata"], body["spec"]
        containers = [each["name"] for each in spec.get("initContainers", ())]
        if metadata.get("labels", {}).get(LABEL_JOB) != job_id or SIDECAR not in containers:
            self.wrong.append(f"Pod {metadata['name']} was stored as it came: {metadata.get('labels')}, {_now()}")

    def _try(self, what: str, request: Callable[[], Json]) -> Json | None:
        try:
            return request()
        except ApiError as error:
            busy = error.status in (429, 500, 503, 504) and "webhook" not in str(error)
            (self.unanswered if busy else self.wrong).append(f"{error}, {_now()}")
        except (OSError, http.client.HTTPException) as error:
            self.unanswered.append(f"{what}: {error!r}, {_now()}")
        return None

    def _remove(self, path: str) -> None:
        """Delete what may be there."""
        try:
            again(lambda: self._api.delete(path))
        except ApiError as error:
            if error.status != http.client.NOT_FOUND:
                raise

    # --- pods that run --------------------------------------------------------------------------------------------

    def _run_pods(self) -> None:
        for number, kind in enumerate(itertools.cycle(ENDINGS), 1):
            job_id = self._bare.job(f"{self._name}-{number}")
            self._ends.append(self._pool.submit(self._chaos.end_one, kind, job_id, number % 5 / 5))
            if self._over.wait(_POD_PAUSE):
                return


def _now() -> str:
    return time.strftime("%H:%M:%S")
