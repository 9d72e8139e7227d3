"""The decision about a ConfigMap, for everybody who asks for one: webhook, controller and `sitelog check`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self, TypeVar

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.decide import decide
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.jobconfig.budget import Budget, OverBudgetError
from sitelog.core.jobconfig.formats import Format, format_of
from sitelog.core.policy.effective import Effective

from .process import NoAnswerError, Worker

_QUICK: Final = 8 * 1024  # characters of JSON that may be decided about between two others' requests
_QUICK_STEPS: Final = 50_000  # of the decision about them, about 5 ms

T = TypeVar("T")


class Decider:
    """Decides about ConfigMaps: small ones in JSON at once, all others in a process with bounds.

    What does not end there within its bounds is refused where the site forbids, and left alone where it allows.

    Parameters
    ----------
    modules : where other functions than decisions are defined that `run` is asked for.
    patience : seconds to wait for an answer, others' turns included; None: as long as it takes.
    """

    def __init__(self, *modules: str, patience: float | None = None) -> None:
        self._patience = patience
        self._worker = Worker(decide.__module__, *modules)
        self._turn = ThreadPoolExecutor(1, thread_name_prefix="decider")

    async def decide(self, configmap: ConfigMap, effective: Effective) -> Outcome:
        """Decide under what is in effect for it, and keep nobody waiting meanwhile.

        Raises
        ------
        NoAnswerError
            The process failed, or had no time.
        """
        outcome = _at_once(configmap, effective)
        if outcome is not None:
            return outcome
        try:
            return await self.run(decide, configmap, effective)
        except OverBudgetError:
            return undecided(configmap, effective)

    def decide_and_wait(self, configmap: ConfigMap, effective: Effective) -> Outcome:
        """Decide in a program that has nothing else to do; raises as `decide` does."""
        outcome = _at_once(configmap, effective)
        if outcome is not None:
            return outcome
        try:
            return self._worker.run(decide, configmap, effective)
        except OverBudgetError:
            return undecided(configmap, effective)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function within the same bounds.

        Raises
        ------
        OverBudgetError
            It did not end within them.
        NoAnswerError
            The process failed, or had no time.
        """
        turn = asyncio.get_running_loop().run_in_executor(self._turn, self._worker.run, function, *arguments)
        try:
            return await asyncio.wait_for(turn, self._patience)
        except TimeoutError:
            raise NoAnswerError("the process that decides has too much to do") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def start(self) -> None:
        """Have the process ready before it is needed."""
        await asyncio.get_running_loop().run_in_executor(self._turn, self._worker.start)

    def close(self) -> None:
        """End the process."""
        self._turn.shutdown(cancel_futures=True)
        self._worker.close()


def undecided(configmap: ConfigMap, effective: Effective) -> Outcome:
    """Decide without a look at the configurations, as about one that is too large."""
    return decide(configmap, effective, Budget(0, final=True))


def _at_once(configmap: ConfigMap, effective: Effective) -> Outcome | None:
    """Decide if that is quick."""
    held = configmap.data.keys() | configmap.binary_data.keys()
    size = sum(map(len, configmap.data.values())) + sum(map(len, configmap.binary_data.values()))
    if size > _QUICK or any(format_of(key) is not Format.JSON for key in held):
        return None
    try:
        return decide(configmap, effective, Budget(_QUICK_STEPS))
    except OverBudgetError:
        return None
