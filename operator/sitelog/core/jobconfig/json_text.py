"""Configuration text to a JSON value and back, with NVFlare's own reader: Python's `json`.

Not a faster one: the value has to be what NVFlare will see, with its NaN, its big integers and its last of two equal
keys.
"""

import json
import re
from typing import Any, Final

from sitelog.core.names import Reason

_MAX_LAID_OUT: Final = 128 * 1024  # characters; a ConfigMap holds eight times as many
_MAX_NESTING: Final = 64  # brackets inside of each other; Python lays each value out once for each of them
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET: Final = re.compile(r"[\[\]{}]")


class UnreadableError(Exception):
    """A configuration that cannot be read; NVFlare could not read it either, or a decision about it cannot be trusted.

    Attributes
    ----------
    reason : the code for it.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse(text: str) -> dict[str, Any]:
    """Read a job configuration.

    Raises
    ------
    UnreadableError
        Not JSON, nested too deep, or something else than an object at the top.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise UnreadableError(Reason.TOO_DEEP, "it is nested too deep to be read") from None
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise UnreadableError(
                Reason.NOT_JSON, "it begins with a byte order mark; save it as UTF-8 without"
            ) from None
        where = f"line {error.lineno} column {error.colno}"
        raise UnreadableError(Reason.NOT_JSON, f"it is not JSON ({error.msg} at {where})") from None
    except ValueError:  # an integer of more digits than Python converts
        raise UnreadableError(Reason.NOT_JSON, "it holds a number of too many digits; write it as a text") from None
    if not isinstance(value, dict):
        raise UnreadableError(Reason.NOT_AN_OBJECT, f"its top level is {_kind(value)}, not an object")
    return value


def compact(value: Any) -> str:
    """Write a value without a byte of layout."""
    return json.dumps(value, separators=(",", ":"))


def dump(config: dict[str, Any], *, ascii_only: bool = True) -> str:
    """Write a configuration as NVFlare's SiteLogStreamer does; a large or deep one without layout, which is costly.

    Raises
    ------
    UnreadableError
        Nested too deep.
    """
    try:
        text = json.dumps(config, ensure_ascii=ascii_only)
        costly = len(text) > _MAX_LAID_OUT or _nesting(text) > _MAX_NESTING
        return text if costly else json.dumps(config, ensure_ascii=ascii_only, indent=2)
    except RecursionError:
        raise UnreadableError(Reason.TOO_DEEP, "it is nested too deep to be written") from None


def _nesting(text: str) -> int:
    """Tell how many brackets are open at a time, at most."""
    depth = most = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        most = max(most, depth)
    return most


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a string", bool: "a boolean"}.get(type(value), "a number")
