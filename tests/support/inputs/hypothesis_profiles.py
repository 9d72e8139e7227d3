"""How many examples property tests try: `default` in every run; `--hypothesis-profile=nightly` for many more."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,  # no test measures time
    "database": None,  # what was found becomes a named test, not a file on one machine
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    "print_blob": True,
}


def register() -> None:
    """Register the profiles and load the one of every run, which tries the same examples each time."""
    settings.register_profile("default", max_examples=100, derandomize=True, **_COMMON)
    settings.register_profile("nightly", max_examples=20_000, derandomize=False, **_COMMON)
    settings.load_profile("default")


def at_least(examples: int) -> Callable[[Any], Any]:
    """Try this many examples, or more where the profile says so."""
    return settings(max_examples=max(examples, settings().max_examples))
