"""`str.format` with a configuration's variables, as NVFlare uses it, within a budget.

A width can ask for gigabytes and the text of a shared object has no bounds, so both are counted before they are made.
"""

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .budget import Budget
from .undecidable import UndecidableError
from .unknown import TEXT, is_marked

# NVFlare's own pattern (fuel/utils/secret_utils.py): the site puts these in at run time; `str.format` is to leave them.
_SECRET: Final = re.compile(r"\$\{secret:(?:file:[^{}\s\x00]+|[A-Za-z_][A-Za-z0-9_]*)\}")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([^\]]+)\]")
_DIGITS: Final = 7  # of a width; one of more is more than any budget
_PART: Final = 6  # steps for each brace in a format
_CONTAINER: Final = 20  # steps to write an object or a list, apart from what is in it
# What `str.format` raises on a text that is no format or asks for what is not there: NVFlare keeps the text as it is.
_MISTAKES: Final = (LookupError, ValueError, TypeError, AttributeError, OverflowError)


def expand(text: str, variables: Mapping[str, Any], budget: Budget) -> str:
    """Put variables into a text; one that cannot be formatted stays.

    Raises
    ------
    UndecidableError
        It depends on what only the job's process knows.
    OverBudgetError
        It is more work than may be done.
    """
    budget.spend_characters(len(text))
    budget.spend(_PART * (text.count("{") + text.count("}")))
    shielded = text
    if "${secret:" in text:
        shielded = _SECRET.sub(lambda match: "${{" + match.group()[2:-1] + "}}", text)
    try:
        return _Formatter(budget).vformat(shielded, (), variables)
    except _MISTAKES:
        return text


class _Formatter(string.Formatter):
    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def get_field(self, field_name: str, _args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        self._budget.spend(20)
        if is_marked(field_name):
            raise UndecidableError("only the job's process knows which variable a text asks for")
        name = re.split(r"[.\[]", field_name, maxsplit=1)[0]
        value = kwargs[name] if name in kwargs or not name.startswith("$") else TEXT
        rest, at = field_name[len(name) :], 0
        while at < len(rest):
            step = _STEP.match(rest, at)
            if not step:
                raise ValueError(field_name)
            value = _attribute(step[1]) if step[1] else _item(value, step[2])
            at = step.end()
        return value, name

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion is not None:
            self._measure(value, [])
        converted = super().convert_field(value, conversion)
        return _unknown(converted) if conversion in ("r", "a") and _holds_mark(value) else converted

    def format_field(self, value: Any, format_spec: str) -> str:
        if is_marked(format_spec):
            raise UndecidableError("only the job's process knows how a text is formatted")
        if format_spec and isinstance(value, str) and is_marked(value):
            return _unknown(value)
        for width in re.findall(r"\d+", format_spec):
            self._budget.spend_characters(int(width[: _DIGITS + 1]))
        self._measure(value, [])
        formatted = str(format(value, format_spec))
        self._budget.spend_characters(len(formatted))
        return _unknown(formatted) if format_spec and is_marked(formatted) else formatted

    def _measure(self, value: Any, inside: list[int]) -> None:
        """Count the work of writing a value, what is shared as often as it is written."""
        if isinstance(value, str):
            self._budget.spend_characters(len(value))
        elif isinstance(value, (dict, list)) and id(value) not in inside:
            self._budget.spend(_CONTAINER)
            for child in [*value, *value.values()] if isinstance(value, dict) else value:
                self._budget.spend(_CONTAINER)
                self._measure(child, [*inside, id(value)])


def _attribute(name: str) -> str:
    """Stand for an attribute of a variable: a method's description, which differs with each Python, or nothing.

    Special ones lead to texts of any kind.
    """
    if name.startswith("__"):
        raise UndecidableError("a text asks for an attribute of Python's own")
    return TEXT


def _item(value: Any, key: str) -> Any:
    if isinstance(value, str) and is_marked(value):
        return _unknown(value)
    return value[int(key) if key.isdecimal() else key]


def _holds_mark(value: Any) -> bool:
    return is_marked(str(value))


def _unknown(text: str) -> str:
    """Stand for a part of a marked text, or for one written in another way."""
    if "{" in text or "}" in text:
        raise UndecidableError("only the job's process knows what a text with braces becomes")
    return TEXT
