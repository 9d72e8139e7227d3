"""Components put into a configuration and taken out of it, as it is written: references and definitions stay.

Nothing is changed in place. What somebody else refers to stays as it is: a list that is brought in by a reference is
written in its place before an entry goes.
"""

from collections.abc import Iterable
from typing import Any, Final

from .components import Place
from .resolver import reference
from .unknown import SYSTEM_VARIABLES

_MAX_REFERENCES: Final = 20


class NotRemovableError(Exception):
    """A component that cannot be taken out.

    Attributes
    ----------
    place : where it stands.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


def without(config: dict[Any, Any], places: Iterable[Place]) -> dict[Any, Any]:
    """Take components out.

    Raises
    ------
    NotRemovableError
        One of them is no entry of a list of components, or an invocation makes that list.
    """
    gone: dict[Any, Any] = {}
    for place in places:
        if not _is_entry(place):
            raise NotRemovableError(place)
        inner = gone
        for step in place:
            inner = inner.setdefault(step, {})
    return dict(_without(config, gone, (), config))


def _is_entry(place: Place) -> bool:
    """Whether it is one of a list of components, of the job or of a component that runs others."""
    of_job = str(place[0]).startswith("components") and len(place) <= 2  # noqa: PLR2004 - `components.#1`
    return of_job or (isinstance(place[-1], int) and place[-2] == "components")


def _without(value: Any, gone: dict[Any, Any], place: Place, config: dict[Any, Any]) -> Any:
    """Write a value anew, without the steps in `gone` that lead to nothing more."""
    value = _brought_in(value, config)
    if not isinstance(value, (dict, list)):
        raise NotRemovableError((*place, next(iter(gone))))
    kept = [
        (key, _without(child, gone[key], (*place, key), config) if key in gone else child)
        for key, child in (value.items() if isinstance(value, dict) else enumerate(value))
        if gone.get(key) != {}
    ]
    return dict(kept) if isinstance(value, dict) else [child for _, child in kept]


def _brought_in(value: Any, config: dict[Any, Any]) -> Any:
    """Return the object that a reference brings, as it is written."""
    for _ in range(_MAX_REFERENCES):
        name = reference(value)
        if name is None or name in SYSTEM_VARIABLES:
            break
        value = config.get(name)
    return value


def replaced(config: dict[Any, Any], place: Place, component: dict[str, Any]) -> dict[Any, Any]:
    """Put a component in the place of another: of an entry of `components`, or of a key like `components.#1`."""
    if len(place) == 1:
        return {**config, place[0]: component}
    entries = config["components"]
    return {**config, "components": [*entries[: place[1]], component, *entries[place[1] + 1 :]]}


def extended(config: dict[Any, Any], component: dict[str, Any]) -> dict[Any, Any]:
    """Add a component: to the list, or, where `components` is no list, under a key of its own that NVFlare reads."""
    entries = config.get("components")
    if entries is None or isinstance(entries, list):
        return {**config, "components": [*(entries or ()), component]}
    number = 1
    while f"components.#{number}" in config:
        number += 1
    return {**config, f"components.#{number}": component}
