"""Which components NVFlare builds from a resolved configuration, while it loads it and later.

The places come from `process_config_element` in `nvflare/private/fed/client/client_json_config.py`,
`nvflare/private/fed_json_config.py` and `fuel/utils/component_builder.py`: the loader walks the configuration and
compares each element's dotted path with a few patterns, so that a top-level key that is itself spelt `components.#1`
counts as well as an entry of the list.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from .budget import Budget
from .builders import late_arguments
from .unknown import is_marked

# As NVFlare writes them, a forgotten backslash and a `$` that passes over a line's end included.
_BUILT_AT: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"^components\.#[0-9]+$",
        r"^executors\.#[0-9]+\.executor$",
        r"^task_result_filters.#[0-9]+\.filters\.#[0-9]+$",
        r"^task_data_filters.#[0-9]+\.filters\.#[0-9]+$",
    )
)
_SECTIONS: Final = ("components", "executors", "task_result_filters", "task_data_filters")
_MAX_PARTS: Final = 4  # `task_result_filters.#1.filters.#1`, the longest pattern
_STEPS: Final = 60  # for each value

Place = tuple[Any, ...]  # keys and list positions from the top, as Python writes them


@dataclass(frozen=True)
class Component:
    """A component that is built.

    Attributes
    ----------
    place : where it stands, as keys and list positions from the top of the configuration.
    description : what it is built from.
    class_name : the class path, perhaps marked (see `unknown`); None if its `name` is to be found in NVFlare's table of
        names, which has no JobLogStreamer, or if the loader refuses it.
    nested : it is an argument of another component, and built before that or by it.
    disabled : the loader passes it over: True, False, or None where only the job knows.
    """

    place: Place
    description: dict[Any, Any]
    class_name: str | None
    nested: bool = False
    disabled: bool | None = False

    @property
    def where(self) -> str:
        """The place as a person writes it."""
        return written(self.place)

    def owns(self, other: "Component") -> bool:
        """Whether the other stands inside of this one."""
        return other.place[: len(self.place)] == self.place


def written(place: Place) -> str:
    """Write a place as a person does: `components[3].args.child`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def components(resolved: dict[Any, Any], budget: Budget) -> list[Component]:
    """List every component that is built, owners before the components among their arguments.

    Raises
    ------
    OverBudgetError
        It is more work than may be done.
    RecursionError
        They are nested too deep to be followed.
    """
    return list(_Walk(budget).components(resolved))


class _Walk:
    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def components(self, resolved: dict[Any, Any]) -> Iterator[Component]:
        for key, value in resolved.items():
            # A key of YAML may be a number.
            if isinstance(key, str) and key.startswith(_SECTIONS):
                yield from self._section((key,), key, value)

    def _section(self, place: Place, path: str, value: Any) -> Iterator[Component]:
        self._budget.spend(_STEPS)
        if any(pattern.search(path) for pattern in _BUILT_AT):
            yield from self._built(place, value)
        elif len(place) < _MAX_PARTS:
            for key, child in _entries(value):
                part = f"#{key + 1}" if isinstance(value, list) else key
                yield from self._section((*place, key), f"{path}.{part}", child)

    def _built(self, place: Place, value: Any, *, nested: bool = False, late: bool = False) -> Iterator[Component]:
        if isinstance(value, str) and is_marked(value):
            yield Component(place, {}, value, nested)  # the loader refuses a text, but for one that turns into more
        if not isinstance(value, dict) or not value:
            return  # null is passed over, anything else is an error to the loader
        self._budget.spend(_STEPS + len(place))
        # What is built later is not always asked whether it is disabled.
        disabled = False if late else _is_disabled(value)
        class_name = class_path(value)
        yield Component(place, value, class_name, nested, disabled)
        arguments = value.get("args")
        if disabled or not isinstance(arguments, dict):
            return
        for key, child in _entries(arguments):
            self._budget.spend(_STEPS)
            if isinstance(child, dict) and _is_class_description(child):
                yield from self._built((*place, "args", key), child, nested=True)
        yield from self._built_later((*place, "args"), arguments, class_name or str(value.get("name")))

    def _built_later(self, place: Place, arguments: dict[Any, Any], class_name: str) -> Iterator[Component]:
        """List what a component of NVFlare's own builds from its arguments, wherever in them that stands."""
        for name in late_arguments(class_name):
            if name in arguments:
                yield from self._within((*place, name), arguments[name])
            attributes = arguments.get("class_attributes")
            if isinstance(attributes, dict) and name in attributes:
                yield from self._within((*place, "class_attributes", name), attributes[name])

    def _within(self, place: Place, value: Any) -> Iterator[Component]:
        self._budget.spend(_STEPS + len(place))
        if isinstance(value, str):
            yield Component(place, {}, value, nested=True)
        elif isinstance(value, dict) and class_path(value) is not None:
            yield from self._built(place, value, nested=True, late=True)
        elif isinstance(value, (dict, list)):
            for key, child in _entries(value):
                yield from self._within((*place, key), child)


def _is_class_description(value: dict[Any, Any]) -> bool:
    kind = value.get("config_type", "component")
    if kind != "component" and not (isinstance(kind, str) and is_marked(kind)):
        return False
    class_name = class_path(value)
    return "name" in value if class_name is None else "." in class_name or is_marked(class_name)


def _is_disabled(value: dict[Any, Any]) -> bool | None:
    disabled = value.get("disabled")
    return None if isinstance(disabled, str) and is_marked(disabled) else disabled is True


def class_path(value: dict[Any, Any]) -> str | None:
    """Return the class path in a description; None if it has none that is a text."""
    for key in ("path", "class_path"):
        if key in value:
            return value[key] if isinstance(value[key], str) else None
    return None


def _entries(value: Any) -> Any:
    return value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
