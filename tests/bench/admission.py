"""What the webhook costs whoever creates a job's ConfigMap, also while somebody else sends it the worst there is."""

import contextlib
import itertools
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.control_plane.api import Api, Json
from support.federation.jobs import client_config
from support.inputs.slow_configurations import SLOW
from support.sitelog.installation import Installation, configmap

GOAL = 0.250  # seconds, p95 beside the worst input
NUMBER = 200
SIZE = 2_400  # bytes of a configuration
_NAMESPACE = "bench-admission"
_CONFIGMAPS = f"/api/v1/namespaces/{_NAMESPACE}/configmaps"


@dataclass(frozen=True)
class Latency:
    """Seconds in which half of the requests, and 95 of 100, are answered."""

    half: float
    most: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        return cls(statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1])


@dataclass(frozen=True)
class Measured:
    """Creations that the webhook sees, and such that it does not, one after the other in turn."""

    seen: Latency
    unseen: Latency


def measure(installation: Installation) -> tuple[Measured, Measured]:
    """Measure alone, and beside a client that sends the worst input without a pause."""
    installation.control_plane.kubectl("create", "namespace", _NAMESPACE)
    installation.policy(_NAMESPACE, logStreaming="Forbidden")
    alone = _creations(installation.control_plane.api, "alone")
    with _worst_input(installation):
        beside = _creations(installation.control_plane.api, "beside")
    installation.control_plane.kubectl("delete", "namespace", _NAMESPACE, "--wait=false")
    return alone, beside


def _creations(api: Api, name: str) -> Measured:
    config = {**client_config(), "filling": ""}
    config["filling"] = "x" * (SIZE - len(json.dumps(config)))
    seen: list[float] = []
    unseen: list[float] = []
    for number in range(NUMBER):
        job = configmap(_NAMESPACE, f"{name}-{number}", config)
        other = configmap(_NAMESPACE, f"{name}-other-{number}", config)
        other["data"] = {"other.json": job["data"]["config_fed_client.json"]}
        seen.append(_seconds(api, job))
        unseen.append(_seconds(api, other))
    return Measured(Latency.of(seen), Latency.of(unseen))


def _seconds(api: Api, body: Json) -> float:
    started = time.perf_counter()
    api.create(_CONFIGMAPS, body)
    return time.perf_counter() - started


@contextlib.contextmanager
def _worst_input(installation: Installation) -> Iterator[None]:
    """Keep a process of its own sending it; it has been answered once when this begins."""
    plane = installation.control_plane
    spawn = multiprocessing.get_context("spawn")
    answered: Any = spawn.Semaphore(0)
    sender = spawn.Process(target=_send, args=(plane.url, plane.authority, plane.api._token, answered), daemon=True)
    sender.start()
    try:
        if not answered.acquire(timeout=60):
            raise RuntimeError("the worst input was not answered")
        yield
        if not sender.is_alive():
            raise RuntimeError("the process that sent the worst input has ended")
    finally:
        sender.terminate()
        sender.join()


def _send(url: str, authority: Path, token: str, answered: Any) -> None:
    api, texts = Api(url, authority, token), [(key, make()) for key, make in SLOW.values()]
    for number, (key, text) in enumerate(itertools.cycle(texts)):
        made = configmap(_NAMESPACE, f"slow-{number}", text)
        made["data"] = {key: text}
        with contextlib.suppress(RuntimeError):  # refused, as it should be
            api.create(_CONFIGMAPS, made)
        answered.release()
