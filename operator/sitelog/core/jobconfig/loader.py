"""Which components NVFlare's loader would build from a job configuration, and where each stands.

Follows `nvflare/private/fed/client/client_json_config.py`, `private/fed_json_config.py` and
`fuel/utils/component_builder.py`: the loader walks the configuration and compares each element's dotted path with a few
patterns, so that a top-level key that is itself spelt `components.#1` counts as well as an entry of the list.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from .undecidable import UndecidableError
from .variables import UNKNOWN, Scope, Unknown, Value, resolve

_BUILT_AT: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"^components\.#[0-9]+$",
        r"^executors\.#[0-9]+\.executor$",
        r"^task_result_filters.#[0-9]+\.filters\.#[0-9]+$",
        r"^task_data_filters\.#[0-9]+\.filters\.#[0-9]+$",
    )
)
_SECTIONS: Final = ("components", "executors", "task_result_filters", "task_data_filters")
_MAX_LEVELS: Final = 4  # `task_result_filters.#1.filters.#1`, the longest pattern

Place = tuple[Any, ...]  # keys and list positions from the top, as Python writes them


@dataclass(frozen=True)
class Component:
    """A component that the loader would build.

    Attributes
    ----------
    place : where it stands, as keys and list positions from the top of the configuration.
    value : its description, resolved one level deep.
    class_name : the class path that its `path` or else its `class_path` stands for; `UNKNOWN` if only the job will
        know; None if there is none: the loader refuses it, or finds its `name` in a table that has no JobLogStreamer.
    nested : it is an argument of another component.
    disabled : the loader passes it over.
    """

    place: Place
    value: Value
    class_name: "str | Unknown | None"
    nested: bool = False
    disabled: bool = False

    @property
    def where(self) -> str:
        """The place as a person writes it: `components[3].args.child`."""
        return written(self.place)


def written(place: Place) -> str:
    """Write a place as a person does: `components[3].args.child`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def components(config: dict[str, Any]) -> list[Component]:
    """List every component that the loader would build, outer ones before the components among their arguments.

    Raises
    ------
    variables.UndecidableError
        Text that cannot be followed, or more of it than can be followed in time; the message names the place.
    """
    scope = Scope(config)
    found: list[Component] = []
    for key, raw in config.items():
        # A key of YAML may be a number. Below a definition ("@...") the loader builds nothing.
        if isinstance(key, str) and key.startswith(_SECTIONS):
            found += _section((key,), key, raw, scope)
    return found


def _section(place: Place, path: str, raw: Any, scope: Scope) -> Iterator[Component]:
    value = _resolved(raw, scope, place)
    if any(pattern.search(path) for pattern in _BUILT_AT):
        yield from _built(place, value)
        return
    if len(place) >= _MAX_LEVELS:
        return
    if isinstance(value.raw, dict):
        for key, child in value.raw.items():
            yield from _section((*place, key), f"{path}.{key}", child, value.scope)
    elif isinstance(value.raw, list):
        for index, child in enumerate(value.raw):
            yield from _section((*place, index), f"{path}.#{index + 1}", child, value.scope)


def _built(place: Place, value: Value, *, nested: bool = False) -> Iterator[Component]:
    if not isinstance(value.raw, dict) or not value.raw:
        return  # null is skipped, anything else is an error to the loader
    disabled = _is_disabled(place, value)
    yield Component(place, value, _class_name(place, value), nested, disabled)
    if disabled or "args" not in value.raw:
        return
    args = _resolved(value.raw["args"], value.scope, (*place, "args"))
    if not isinstance(args.raw, dict):
        return
    for key, raw in args.raw.items():
        if not isinstance(raw, (dict, str)):
            continue
        inner = (*place, "args", key)
        child = _resolved(raw, args.scope, inner)
        if isinstance(child.raw, dict) and _is_nested_component(inner, child):
            yield from _built(inner, child, nested=True)


def _is_nested_component(place: Place, value: Value) -> bool:
    kind = _resolved(value.raw.get("config_type", "component"), value.scope, (*place, "config_type")).raw
    if _is_disabled(place, value) or kind not in ("component", UNKNOWN):
        return False
    class_name = _class_name(place, value)
    return "name" in value.raw if class_name is None else isinstance(class_name, Unknown) or "." in class_name


def _is_disabled(place: Place, value: Value) -> bool:
    return _resolved(value.raw.get("disabled"), value.scope, (*place, "disabled")).raw is True


def _class_name(place: Place, value: Value) -> "str | Unknown | None":
    for key in ("path", "class_path"):
        if key in value.raw:
            name = _resolved(value.raw[key], value.scope, (*place, key)).raw
            return name if isinstance(name, (str, Unknown)) else None
    return None


def _resolved(raw: Any, scope: Scope, place: Place) -> Value:
    try:
        return resolve(raw, scope)
    except UndecidableError as error:
        raise UndecidableError(f"{written(place)}: {error}") from None
