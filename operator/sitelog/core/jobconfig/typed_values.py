"""The values that an invocation gives: the counterpart of `parse_vars` in `nvflare/fuel/utils/argument_utils.py`."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

_TRUE: Final = ("yes", "true", "t", "y", "1")
_FALSE: Final = ("no", "false", "f", "n", "0")


def typed_values(parameters: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` texts; of two with one name the later counts."""
    given = (parameter.partition("=") for parameter in parameters)
    return {name.strip(): _typed(value) for name, _, value in given}


def _typed(value: str) -> Any:
    with suppress(ValueError):
        return int(value)
    with suppress(ValueError):
        return float(value)
    lower = value.lower()
    return True if lower in _TRUE else False if lower in _FALSE else value
