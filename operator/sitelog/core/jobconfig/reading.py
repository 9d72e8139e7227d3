"""What a configuration's text says, and what it would say where the job runs."""

import re
from dataclasses import dataclass
from typing import Any, Final

from sitelog.core.names import Reason

from .json_text import UnreadableError

# What pyhocon and OmegaConf raise by mistake on some texts, for which NVFlare would not load them either.
MISTAKES: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Reading:
    """A configuration as its format's reader gives it.

    Attributes
    ----------
    config : the value, with nothing taken from an environment where the text can be read so; else with marks.
    elsewhere : the value with a mark for all that the job's environment would tell; None if it would tell nothing.
    exact : `config` may be written in the text's place: it means the same.
    """

    config: dict[str, Any]
    elsewhere: dict[str, Any] | None = None
    exact: bool = True


def object_at_top(value: Any) -> dict[str, Any]:
    """Return what a reader gave; raises UnreadableError if it is no object."""
    if not isinstance(value, dict):
        raise UnreadableError(Reason.NOT_AN_OBJECT, "its top level is not an object")
    return value


def fails(reader: str, error: Exception) -> str:
    """Say that the reader which NVFlare uses raises one of its `MISTAKES`."""
    return f"{reader}, which NVFlare reads it with, fails on it ({type(error).__name__}); write it as JSON"


def mark(variable: str) -> str:
    """Return what stands for a variable of the environment: NVFlare's own reference to it."""
    return "{$" + re.sub(r"\W", "_", variable) + "}"
