"""JobLogStreamers that a configuration describes where nothing is built, and that the job's environment could bring in.

NVFlare puts the environment's value in the place of `{$NAME}` in one round, and in the next round what that value
refers to: with `{spare}` it is the object under the top-level key `spare`, wherever a component takes an argument.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

from .budget import Budget
from .components import Component, class_path
from .resolver import Resolved
from .streamer import may_become_streamer, names_streamer

_STEPS: Final = 4  # for each value


def may_be_brought_in(config: dict[Any, Any], resolved: Resolved, built: Collection[Component], budget: Budget) -> bool:
    """Whether the job's environment could make a JobLogStreamer out of what a configuration merely describes.

    Parameters
    ----------
    config, resolved : the configuration as it is written, and what NVFlare builds from.
    built : its components, which are judged where they stand.
    budget : pays for the walk.

    Raises
    ------
    OverBudgetError
        It is more work than may be done.
    """
    if not resolved.open_reference:
        return False
    definitions = [value for name, value in config.items() if str(name).startswith("@")]
    judged = {id(component.description) for component in built}
    return any(_describes_streamer(value) for value in _values(resolved.config, budget, judged)) or any(
        _describes_streamer(value) or _has_open_class(value) for value in _values(definitions, budget)
    )


def _values(top: Any, budget: Budget, left_out: Collection[int] = ()) -> Iterator[Any]:
    """Walk everything inside, what is shared once; `left_out` are objects by identity."""
    walked, seen = [top], {id(top), *left_out}
    for value in walked:  # which grows meanwhile
        children = value.values() if isinstance(value, dict) else value
        for child in children:
            budget.spend(_STEPS)
            if isinstance(child, (dict, list)):
                if id(child) in seen:
                    continue
                seen.add(id(child))
                walked.append(child)
            yield child


def _describes_streamer(value: Any) -> bool:
    if isinstance(value, str):  # some arguments are class paths
        return names_streamer(Component((), {}, value))
    if not isinstance(value, dict):
        return False
    component = Component((), value, class_path(value))
    return names_streamer(component) or may_become_streamer(component)


def _has_open_class(value: Any) -> bool:
    """Whether an invocation's arguments may say what class a definition describes."""
    path = class_path(value) if isinstance(value, dict) else None
    return path is not None and "{" in path
