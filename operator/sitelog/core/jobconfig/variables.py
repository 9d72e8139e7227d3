"""What a string in a job configuration stands for once NVFlare has put in its variables.

NVFlare scans the configuration in rounds and replaces every string (`nvflare/fuel/utils/wfconf.py`, `_EnvUpdater`):

- `{name}` alone becomes the value of the top-level key `name`, whole objects too; an unknown name becomes null;
- `{@name:a=1:b={c}}` becomes the object under `@name`, resolved with these values first;
- in anything else, `str.format` puts values into the text; if that fails the text stays.

Here only what is asked for is resolved, so that the cost does not depend on the rest of the configuration. What only
the job's own process knows (its environment, its site and workspace) is `UNKNOWN`.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .undecidable import UndecidableError

# Set by NVFlare for each job process (ClientJsonConfigurator, `sys_vars`); they hide keys of the same name.
SYSTEM_VARIABLES: Final = frozenset(
    (
        "SITE_NAME",
        "WORKSPACE",
        "JOB_ID",
        "ROOT_URL",
        "CP_URL",
        "RELAY_URL",
        "SECURE_MODE",
        "JOB_CUSTOM_DIR",
        "JOB_CONFIG_DIR",
    )
)

_MAX_STEPS = 40  # NVFlare gives up after 20 rounds; twice that decides everything it still loads
_MAX_LENGTH = 100_000  # of a text grown by its own variables; no class path is longer
_MAX_EFFORT = 10_000  # values looked at in one configuration; NVFlare's own examples have some dozens
_EFFORT_LENGTH = 6  # characters of a text with variables that count as one value more


class Unknown:
    """The type of `UNKNOWN`: a value that only the job's own process will know."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


class _Effort:
    """Bounds the work on one configuration: references can make a short text a very long one."""

    def __init__(self) -> None:
        self._left = _MAX_EFFORT

    def spend(self, value: Any) -> None:
        varies = isinstance(value, str) and "{" in value
        self._left -= 1 + (len(value) // _EFFORT_LENGTH if varies else 0)
        if self._left < 0:
            raise UndecidableError("there is more of it than can be followed in time")


@dataclass(frozen=True)
class Scope:
    """The variables in sight: the configuration's top-level keys, and the values of an invocation in front of them."""

    variables: Mapping[str, Any]
    local: Mapping[str, str] = field(default_factory=dict)
    effort: _Effort = field(default_factory=_Effort)

    def look_up(self, name: str) -> Any:
        """Return the raw value of a variable: `UNKNOWN` if only the job knows it, None if nobody does."""
        if name in self.local:
            return self.local[name]
        if name in SYSTEM_VARIABLES:
            return UNKNOWN
        if name in self.variables:
            return self.variables[name]
        return UNKNOWN if name.startswith("$") else None

    def knows(self, name: str) -> bool:
        """Whether `str.format` would find the name."""
        return name in self.local or name in self.variables or name in SYSTEM_VARIABLES or name.startswith("$")


@dataclass(frozen=True)
class Value:
    """A resolved value, with the scope in which the strings inside it resolve."""

    raw: Any
    scope: Scope

    def child(self, raw: Any) -> "Value":
        """Resolve something that stands inside this value."""
        return resolve(raw, self.scope)


def resolve(raw: Any, scope: Scope) -> Value:
    """Resolve one value: a string to what it stands for, anything else to itself. Children stay as they are.

    Raises
    ------
    UndecidableError
        A chain of references that never ends, a text that grows without bound, or too much of both.
    """
    value = raw
    for _ in range(_MAX_STEPS):
        scope.effort.spend(value)
        if not isinstance(value, str):
            return Value(value, scope)
        after, scope = _substitute(value, scope)
        if isinstance(after, str) and after == value:
            return Value(value, scope)
        value = after
    raise UndecidableError("its variables refer to each other without end")


def _substitute(text: str, scope: Scope) -> tuple[Any, Scope]:
    expression = text.strip()
    if expression.startswith("{@") and expression.endswith("}"):
        return _reference(expression[1:-1], scope)
    parts = re.split("{|}", expression)
    if len(parts) == 3 and parts[0] == "" and parts[2] == "":  # noqa: PLR2004 - the three parts of "{name}"
        return _reference(parts[1], scope)
    return _format(text, scope), scope


def _reference(expression: str, scope: Scope) -> tuple[Any, Scope]:
    name, *parameters = expression.split(":")
    value = scope.look_up(name)
    if not parameters:
        return value, scope
    if value is UNKNOWN:
        return UNKNOWN, scope
    if not isinstance(value, dict) or not value:
        return None, scope  # NVFlare refuses to load the job: nothing is built
    given = (parameter.partition("=") for parameter in parameters)
    local = {**scope.local, **{key.strip(): text for key, _, text in given}}
    return value, Scope(scope.variables, local, scope.effort)


def _format(text: str, scope: Scope) -> Any:  # noqa: PLR0911 - one for each of NVFlare's ways
    if "{" not in text and "}" not in text:
        return text
    if "${" in text:
        return UNKNOWN  # a secret's reference: the site puts it in
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError:
        return text  # NVFlare keeps a text that cannot be formatted
    out: list[str] = []
    length = 0
    for literal, name, specification, conversion in fields:
        out.append(literal)
        if name is None:
            continue
        if specification or conversion or not name or re.search(r"[.\[]|^\d+$", name):
            # An attribute, an index, a width: possible to follow, never needed to name a class.
            return UNKNOWN
        if not scope.knows(name):
            return text
        value = scope.look_up(name)
        if isinstance(value, (Unknown, dict, list)):
            return UNKNOWN
        out.append(str(value))
        length += len(literal) + len(out[-1])
        if length > _MAX_LENGTH:
            raise UndecidableError("its variables make it longer than any class path")
    return "".join(out)
