"""The level-triggered loop: reconciles everything in turn, at intervals and when it is triggered."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sitelog.kube.client import ApiError
from sitelog.telemetry.metrics import SWEEP_SECONDS, SWEPT

_DEBOUNCE_SECONDS: Final = 0.1  # triggers within this time are answered together

log = logging.getLogger(__name__)

Reconcile = Callable[[], Awaitable[None]]


class ReconcileLoop:
    """Calls reconcilers, each apart from the others' errors.

    Parameters
    ----------
    reconcilers : at every interval, by name, in this order.
    prompt : which of them also when the loop is triggered.
    interval : seconds.
    """

    def __init__(self, reconcilers: Mapping[str, Reconcile], prompt: frozenset[str], interval: float) -> None:
        self._reconcilers = reconcilers
        self._prompt = prompt
        self._interval = interval
        self._triggered = asyncio.Event()
        self._swept_at = time.monotonic()
        self.swept = False  # whether there was a full round

    def trigger(self) -> None:
        """Ask for the prompt ones soon."""
        self._triggered.set()

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
                await asyncio.wait_for(self._triggered.wait(), timeout=max(0.0, due - time.monotonic()))
            except TimeoutError:
                continue
            await asyncio.sleep(_DEBOUNCE_SECONDS)

    async def _round(self, *, full: bool) -> None:
        self._triggered.clear()
        good = True
        with SWEEP_SECONDS.time():
            for name, reconcile in self._reconcilers.items():
                if full or name in self._prompt:
                    good &= await self._reconcile(name, reconcile)
        if full:
            self._swept_at = time.monotonic()
            self.swept = True
            if good:
                SWEPT.set_to_current_time()

    async def _reconcile(self, name: str, reconcile: Reconcile) -> bool:
        try:
            await reconcile()
        except ApiError as error:
            log.warning("%s: trying again in %.0f s: %s", name, self._interval, error)
            return False
        except Exception:
            # One broken object must not keep the others from being reconciled; the next round tries again.
            log.exception("%s: an error of ours, trying again in %.0f s", name, self._interval)
            return False
        return True
