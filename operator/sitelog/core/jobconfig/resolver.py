"""What a configuration becomes once NVFlare has put in its variables.

The counterpart of `resolve_var_refs` in `nvflare/fuel/utils/wfconf.py`. It walks the whole configuration in rounds and
replaces texts in place until nothing changes:

- `{name}` alone brings the value of the top-level key `name`, the object itself and not a copy: what is later replaced
  inside it changes for everybody who has it; an unknown name brings null;
- `{@name:a=1:b={c}}` brings a copy of the object under `@name`, which is resolved by itself first, with these values;
- any other text goes through `str.format`.

What has no brace anywhere inside never changes. It is neither walked nor copied here, so that the work does not depend
on the size of the configuration.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .budget import Budget
from .formatting import expand
from .typed_values import typed_values
from .undecidable import UndecidableError
from .unknown import SYSTEM_VARIABLES, TEXT, is_marked

_MAX_ROUNDS: Final = 21  # NVFlare gives up after as many that changed something
_MAX_LEVELS: Final = 300  # of nesting; Python, which runs NVFlare too, can follow some more
_LONG: Final = 1_000  # characters of a text in which braces are looked for once only
_WALK_STEPS: Final = 3
_NOTE_STEPS: Final = 8
_TEXT_STEPS: Final = 40
_CONTAINER_STEPS: Final = 20
_ENTRY_STEPS: Final = 4

Container: TypeAlias = "dict[Any, Any] | list[Any]"


@dataclass(frozen=True)
class Resolved:
    """What NVFlare's loader builds components from.

    Attributes
    ----------
    config : the configuration with its variables put in.
    open_reference : where the job runs, a text in it may be nothing but a reference: the environment's value says so.
    """

    config: dict[Any, Any]
    open_reference: bool


def resolve(config: dict[Any, Any], budget: Budget) -> Resolved:
    """Return what NVFlare's loader builds components from; `config` stays as it is.

    Raises
    ------
    UndecidableError
        NVFlare could not load it, or it depends on more than the text.
    OverBudgetError
        It is more work than may be done.
    RecursionError
        It is nested too deep to be followed.
    """
    resolver = _Resolver(budget)
    return Resolved(resolver.resolve(config), resolver.open_reference)


class _Resolver:
    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.open_reference = False
        # The containers with a brace somewhere inside, by identity, and under which of their keys.
        self._open: dict[int, tuple[Container, tuple[Any, ...]]] = {}
        self._searched: dict[int, tuple[str, bool]] = {}

    def resolve(self, config: dict[Any, Any]) -> dict[Any, Any]:
        self._note_braces(config)
        # What begins with "@" can be invoked, and is no part of the configuration otherwise.
        resolved = {name: value for name, value in config.items() if not str(name).startswith("@")}
        if id(config) in self._open:
            _, keys = self._open[id(config)]
            self._open[id(resolved)] = (resolved, tuple(key for key in keys if key in resolved))
            resolved = self._copy(resolved, {}, 0)
            self._rounds(resolved, {**self._copy(config, {}, 0), **SYSTEM_VARIABLES}, 0)
        return resolved

    def _note_braces(self, config: dict[Any, Any]) -> None:
        walked: list[Container] = [config]
        braces = False
        for container in walked:  # which grows meanwhile
            self._budget.spend(_WALK_STEPS + len(container) // 2)
            for child in container.values() if isinstance(container, dict) else container:
                kind = type(child)
                if kind is str:
                    braces = braces or "{" in child or "}" in child
                    if TEXT in child:
                        self._note_reference(child)
                elif kind is dict or kind is list:
                    walked.append(child)
        if braces:
            self._budget.spend(_NOTE_STEPS * len(walked))
            for container in reversed(walked):
                self._note(container)

    def _note_reference(self, value: Any) -> None:
        text = value.strip() if isinstance(value, str) and TEXT in value else ""
        ends = (TEXT, "{", "}")  # of a reference, or of an environment's value that has one
        self.open_reference = self.open_reference or (text[:1] in ends and text[-1:] in ends)

    def _note(self, container: Container) -> None:
        self._budget.spend(2 * len(container))
        entries = container.items() if isinstance(container, dict) else enumerate(container)
        keys = tuple([key for key, child in entries if self._varies(child)])
        if keys:
            self._open[id(container)] = (container, keys)

    def _varies(self, value: Any) -> bool:
        if not isinstance(value, str):
            return id(value) in self._open
        if len(value) < _LONG:
            return "{" in value or "}" in value
        if id(value) not in self._searched:
            self._budget.spend_characters(len(value))
            self._searched[id(value)] = (value, "{" in value or "}" in value)
        return self._searched[id(value)][1]

    def _copy(self, value: Any, copies: dict[int, Any], level: int) -> Any:
        """Copy what can change, as `copy.deepcopy` does: what is there twice is there twice afterwards."""
        if id(value) not in self._open or isinstance(value, str):
            return value
        if id(value) in copies:
            return copies[id(value)]
        keys = self._enter(value, level)
        self._budget.spend(len(value) * (_ENTRY_STEPS if isinstance(value, dict) else 1))
        copied = copies[id(value)] = value.copy()
        self._open[id(copied)] = (copied, keys)
        for key in keys:
            copied[key] = self._copy(copied[key], copies, level + 1)
        return copied

    def _rounds(self, container: Container, variables: dict[Any, Any], level: int) -> None:
        # A key that is no text makes each call of `str.format` fail; YAML has such.
        formats = all(isinstance(name, str) for name in variables)
        for _ in range(_MAX_ROUNDS):
            if not self._scan(container, variables, level, formats=formats):
                return
        raise UndecidableError("its variables refer to each other without end, and NVFlare could not load it")

    def _scan(self, container: Container, variables: dict[Any, Any], level: int, *, formats: bool) -> bool:
        """Replace each text once. An object that is brought in is walked from the next round on."""
        changed = False
        for key, child in self._changing(container, level):
            if isinstance(child, str):
                if self._varies(child):
                    value = self._substitute(child, variables, level, formats=formats)
                    self._note_reference(value)
                    changed |= not (isinstance(value, str) and value == child)
                    container[key] = value
            elif id(child) in self._open:
                changed |= self._scan(child, variables, level + 1, formats=formats)
        return changed

    def _changing(self, container: Container, level: int) -> Iterator[tuple[Any, Any]]:
        """Go through an object as it was at the start, and through a list as it is, as NVFlare does."""
        keys = self._enter(container, level)
        if isinstance(container, dict):
            return iter([(key, container[key]) for key in keys])
        return ((index, container[index]) for index in keys)

    def _enter(self, container: Container, level: int) -> tuple[Any, ...]:
        if level > _MAX_LEVELS:
            raise RecursionError
        _, keys = self._open.get(id(container), (container, ()))
        self._budget.spend(_CONTAINER_STEPS + _ENTRY_STEPS * len(keys))
        return keys

    def _substitute(self, text: str, variables: dict[Any, Any], level: int, *, formats: bool) -> Any:
        self._budget.spend(_TEXT_STEPS)
        self._budget.spend_characters(len(text))
        expression = _expression(text)
        if is_marked(text) and (expression is not None or _expression(text.replace(TEXT, "")) is not None):
            raise UndecidableError("only the job's process knows what a text refers to")
        if expression is None:
            return expand(text, variables, self._budget) if formats else text
        name, *parameters = expression.split(":")
        if parameters:
            return self._invoke(name, parameters, variables, level)
        return variables.get(name, TEXT if name.startswith("$") else None)

    def _invoke(self, name: str, parameters: list[str], variables: dict[Any, Any], level: int) -> Any:
        definition = variables.get(name)
        if not isinstance(definition, dict) or not definition:
            raise UndecidableError("it invokes what is no object, and NVFlare could not load it")
        self._budget.spend(_ENTRY_STEPS * len(variables) + _TEXT_STEPS * len(parameters))
        copied = self._copy(definition, {}, level)
        self._rounds(copied, {**variables, **typed_values(parameters)}, level + 4)
        return copied


def _expression(text: str) -> str | None:
    """Return what stands in the braces of a reference or an invocation; None for any other text.

    NVFlare splits at either brace, so that `}name{` is a reference too.
    """
    stripped = text.strip()
    inner = stripped[1:-1]
    if stripped.startswith("{@") and stripped.endswith("}"):
        return inner
    braces = stripped[:1] in ("{", "}") and stripped[1:][-1:] in ("{", "}")
    return inner if braces and "{" not in inner and "}" not in inner else None


def reference(value: Any) -> str | None:
    """Return the name to which a value refers, if it is nothing but a reference."""
    name = _expression(value) if isinstance(value, str) else None
    return None if name is None or ":" in name else name
