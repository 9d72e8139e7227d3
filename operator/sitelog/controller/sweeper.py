"""The level-triggered loop: looks at everything in turn, at intervals and when something happened."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sitelog.kube.client import ApiError
from sitelog.telemetry.metrics import SWEEP_SECONDS, SWEPT

_TOGETHER: Final = 0.1  # seconds in which what happens is answered with one look

log = logging.getLogger(__name__)

Look = Callable[[], Awaitable[None]]


class Sweeper:
    """Calls looks, each apart from the others' errors.

    Parameters
    ----------
    looks : at every interval, by name, in this order.
    prompt : which of them also when something happened.
    interval : seconds.
    """

    def __init__(self, looks: Mapping[str, Look], prompt: frozenset[str], interval: float) -> None:
        self._looks = looks
        self._prompt = prompt
        self._interval = interval
        self._happened = asyncio.Event()
        self._swept_at = time.monotonic()
        self.swept = False  # whether there was a full round

    def happened(self) -> None:
        """Ask for a look soon."""
        self._happened.set()

    @property
    def age(self) -> float:
        """Seconds since the last full round came to its end, with or without errors."""
        return time.monotonic() - self._swept_at

    async def run(self) -> None:
        """Go round for ever."""
        due = time.monotonic()
        while True:
            full = time.monotonic() >= due
            if full:
                due = time.monotonic() + self._interval
            await self._round(full=full)
            try:
                await asyncio.wait_for(self._happened.wait(), timeout=max(0.0, due - time.monotonic()))
            except TimeoutError:
                continue
            await asyncio.sleep(_TOGETHER)

    async def _round(self, *, full: bool) -> None:
        self._happened.clear()
        good = True
        with SWEEP_SECONDS.time():
            for name, look in self._looks.items():
                if full or name in self._prompt:
                    good &= await self._look(name, look)
        if full:
            self._swept_at = time.monotonic()
            self.swept = True
            if good:
                SWEPT.set_to_current_time()

    async def _look(self, name: str, look: Look) -> bool:
        try:
            await look()
        except ApiError as error:
            log.warning("%s: trying again in %.0f s: %s", name, self._interval, error)
            return False
        except Exception:
            # One broken object must not keep the others from being looked at; the next round tries again.
            log.exception("%s: an error of ours, trying again in %.0f s", name, self._interval)
            return False
        return True
