"""Requests without a pause to an API server that starts: what it lets in, and what not, from its first answer on."""

import http.client
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Self

from support.control_plane.api import Api, ApiError, Json
from support.wait import wait_for

_AT_ONCE = 2
_PAUSE = 0.02  # seconds where nobody answers: the server needs the processors to start


class Siege:
    """Context manager: goes on until it is left.

    Parameters
    ----------
    requests
        Namespace and object of each dry run, by name.

    Attributes
    ----------
    passed
        How many of each the API server let in.
    refused
        How many of each it did not let in, and how it said so.
    """

    def __init__(self, api: Api, requests: Mapping[str, tuple[str, Json]]) -> None:
        self._api = api
        self._requests = requests
        self.passed: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, daemon=True) for _ in range(_AT_ONCE)]
        self._broken: list[BaseException] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._broken:
            raise self._broken[0]

    def wait_for_more(self, number: int) -> None:
        """Wait until each kind of request was answered so many times from now on."""
        before = {name: self.answers(name) for name in self._requests}

        def enough() -> bool:
            return all(self.answers(name) - before[name] >= number for name in self._requests)

        wait_for(enough, 60, f"{number} answers to each of {len(self._requests)} requests")

    def answers(self, name: str) -> int:
        """How many answers there were to one kind of request."""
        with self._lock:
            return self.passed[name] + sum(number for (kind, _), number in self.refused.items() if kind == name)

    def _go_on(self) -> None:
        try:
            while not self._over.is_set():
                for name, (namespace, body) in self._requests.items():
                    self._ask(name, namespace, body)
        except BaseException as error:  # noqa: BLE001 - raised where the siege ends
            self._broken.append(error)

    def _ask(self, name: str, namespace: str, body: Json) -> None:
        plural = f"{body['kind'].lower()}s"
        try:
            self._api.create(f"/api/v1/namespaces/{namespace}/{plural}?dryRun=All", body)
        except ApiError as error:
            with self._lock:
                self.refused[name, str(error)[:300]] += 1
        except (OSError, http.client.HTTPException):
            self._over.wait(_PAUSE)
        else:
            with self._lock:
                self.passed[name] += 1
