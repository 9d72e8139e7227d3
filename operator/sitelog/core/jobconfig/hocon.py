"""HOCON, as NVFlare reads it by pyhocon (`nvflare/fuel_opt/utils/pyhocon_loader.py`)."""

import re
from typing import Any, Final

from pyhocon import ConfigTree
from pyhocon.config_tree import NoneValue
from pyhocon.exceptions import ConfigException
from pyparsing import ParseBaseException

from sitelog.core.names import Reason

from . import hocon_grammar, json_text
from .json_text import UnreadableError
from .reading import MISTAKES, Reading, fails, mark, object_at_top

_BRACED: Final = re.compile(r"(?:\s|(?:#|//).*$)*\{", re.MULTILINE)  # braces around everything, after comments


def read(text: str) -> Reading:
    """Read a configuration.

    Raises
    ------
    json_text.UnreadableError
        NVFlare could not read it either.
    undecidable.UndecidableError
        It includes something.
    """
    asked: set[str] = set()
    try:
        config = _parse(text, asked)
    except UnreadableError:
        if not asked:
            raise
        # It may need a variable of the environment. NVFlare's own reference to it means the same.
        config = _parse(text, set(), frozenset(asked))
        return Reading(config, config)
    if not asked:
        return Reading(config)
    elsewhere = _elsewhere(text, asked)
    return Reading(config, elsewhere, exact=config == elsewhere)


def _elsewhere(text: str, asked: set[str]) -> dict[str, Any]:
    """Read a text that can be read without a value for any of these variables, with a mark for each of them.

    Where a variable's value is no text that pyhocon can read, as in `list = ${?list} [1]`, no job starts that has it.
    """
    try:
        return _parse(text, set(), frozenset(asked))
    except UnreadableError:
        can_be_set = frozenset(variable for variable in asked if _can_be_read(text, variable))
        return _parse(text, set(), can_be_set)


def _can_be_read(text: str, variable: str) -> bool:
    try:
        _parse(text, set(), frozenset({variable}))
    except UnreadableError:
        return False
    return True


def dump(config: dict[str, Any]) -> str:
    r"""Write a configuration as JSON, which HOCON contains, without `\u` escapes, which pyhocon does not read."""
    return json_text.dump(config, ascii_only=False)


def extended(text: str, component: dict[str, Any], *, first: bool) -> str:
    """Add a component at the text's end, or within the braces around everything: what a person wrote stays."""
    before = "" if first else "${components} "
    addition = f"\ncomponents = {before}[{json_text.compact(component)}]\n"
    if _BRACED.match(text):
        head, brace, tail = text.rpartition("}")
        return f"{head.rstrip()}{addition}{brace}{tail}"
    return f"{text.rstrip()}{addition}"


def _parse(text: str, asked: set[str], marked: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Read a text with marks for these variables; note in `asked` which it refers to."""

    def environment(variable: str) -> str | None:
        asked.add(variable)
        return mark(variable) if variable in marked else None

    try:
        tree = hocon_grammar.parse(text, environment)
    except RecursionError:
        raise UnreadableError(Reason.TOO_DEEP, "it is nested too deep to be read") from None
    except (ParseBaseException, ConfigException) as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise UnreadableError(Reason.NOT_HOCON, f"it is not HOCON{where}") from None
    except MISTAKES as error:
        raise UnreadableError(Reason.NOT_HOCON, fails("pyhocon", error)) from None
    return object_at_top(_plain(tree))


def _plain(item: Any) -> Any:
    """Make of pyhocon's tree what NVFlare makes of it (`PyhoconConfig._convert_conf_item`)."""
    if isinstance(item, ConfigTree):
        return {key.strip('"'): _plain(child) for key, child in item.items()}
    if isinstance(item, list):
        return [_plain(child) for child in item]
    return None if isinstance(item, NoneValue) else item
