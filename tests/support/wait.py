"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

# Seconds between two looks, unless told otherwise: what comes late is looked for less often, since looking costs the
# processors time that others wait for.
_SHORTEST: Final = 0.05
_LONGEST: Final = 0.5
_GROWTH: Final = 1.3

T = TypeVar("T")


def wait_for(condition: Callable[[], T], deadline: float, what: str, *, every: float | None = None) -> T:
    """Return the first true value of `condition`.

    Parameters
    ----------
    condition
        Called until what it returns is true. An exception of its own ends the wait.
    deadline
        Seconds from now.
    what
        What is waited for, as in "the pod to be Ready"; begins the error message.
    every
        Seconds between two calls; else they become more.

    Raises
    ------
    TimeoutError
        With `what`, the deadline and the last value seen.
    """
    end = time.monotonic() + deadline
    pause = every or _SHORTEST
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline:g} s for {what}; last seen: {value!r}")
        time.sleep(pause)
        pause = every or min(_GROWTH * pause, _LONGEST)
    return value
