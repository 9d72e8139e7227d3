"""What a configuration's text says, and what it would say where the job runs."""

import re
from dataclasses import dataclass
from typing import Any


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


def mark(variable: str) -> str:
    """Return what stands for a variable of the environment: NVFlare's own reference to it."""
    return "{$" + re.sub(r"\W", "_", variable) + "}"
