"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], deadline: float, what: str, *, every: float = 0.05) -> T:
    """Return the first true value of `condition`.

    Parameters
    ----------
    condition
        Called until what it returns is true. An exception of its own ends the wait.
    deadline
        Seconds from now.
    what
        What is waited for, as in "the pod to be Ready"; begins the error message.

    Raises
    ------
    TimeoutError
        With `what`, the deadline and the last value seen.
    """
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline:g} s for {what}; last seen: {value!r}")
        time.sleep(every)
    return value
