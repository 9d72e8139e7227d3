"""YAML, as NVFlare reads it by OmegaConf (`nvflare/fuel_opt/utils/omegaconf_loader.py`)."""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import parse as parse_grammar

from sitelog.core.names import Reason

from .json_text import UnreadableError
from .reading import MISTAKES, Reading, fails, mark, object_at_top
from .undecidable import UndecidableError

# Texts of which it is plain that they call no resolver; OmegaConf's grammar, which tells of all, takes a millisecond.
_PLAIN: Final = re.compile(r"(?:[^$\\]|\$(?!\{)|\$\{[\w.]+\})*")
_ENVIRONMENT: Final = re.compile(r"\$\{\s*oc\.env\s*:\s*(\w+)\s*(,.*)?\}", re.DOTALL)


def read(text: str) -> Reading:
    """Read a configuration.

    Raises
    ------
    json_text.UnreadableError
        NVFlare could not read it either.
    undecidable.UndecidableError
        It calls a resolver that could give anything.
    """
    asked: list[bool] = []
    try:
        loaded = _load(text)
        marked = _marked(_raw(loaded), asked)
        config: Any = OmegaConf.to_container(OmegaConf.create(marked) if asked else loaded, resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise UnreadableError(Reason.NOT_YAML, f"it is not YAML that OmegaConf reads{where}") from None
    except RecursionError:
        raise UnreadableError(Reason.TOO_DEEP, "it is nested too deep to be read") from None
    except MISTAKES as error:
        raise UnreadableError(Reason.NOT_YAML, fails("OmegaConf", error)) from None
    return Reading(object_at_top(config), config if asked else None, exact=all(asked))


def dump(config: dict[str, Any]) -> str:
    """Write a configuration so that OmegaConf reads the same values: texts that look like numbers stay texts."""
    return OmegaConf.to_yaml(OmegaConf.create(config))


def extended(text: str, component: dict[str, Any]) -> str | None:
    """Add a component and leave interpolations as they stand; None where `components` is no list of its own."""
    config = _raw(_load(text))
    entries = config.get("components") or []
    if not isinstance(entries, list):
        return None
    return dump({**config, "components": [*entries, component]})


def _load(text: str) -> Any:
    # OmegaConf's own limit on aliases depends on the environment; the budget bounds them here.
    return OmegaConf.create(text, max_yaml_expanded_nodes=None)


def _raw(loaded: Any) -> Any:
    return OmegaConf.to_container(loaded, resolve=False)


def _marked(item: Any, asked: list[bool]) -> Any:
    """Put a mark in the place of each reference to the environment; note for each whether the mark says all of it."""
    if isinstance(item, dict):
        return {key: _marked(child, asked) for key, child in item.items()}
    if isinstance(item, list):
        return [_marked(child, asked) for child in item]
    if not isinstance(item, str) or "${" not in item or _PLAIN.fullmatch(item):
        return item
    text = item
    for call in reversed(list(_resolver_calls(parse_grammar(item)))):
        begin, end = call.start.start, call.stop.stop + 1
        environment = _ENVIRONMENT.fullmatch(item[begin:end])
        if environment is None:
            raise UndecidableError("${...:...}: only the job itself would tell what that gives; write its value")
        asked.append(environment[2] is None)
        text = text[:begin] + mark(environment[1]) + text[end:]
    return text


def _resolver_calls(node: Any) -> Iterator[Any]:
    """Yield the calls of resolvers in a text's parse tree, from its beginning, none inside of another."""
    if type(node).__name__ == "InterpolationResolverContext":
        yield node
        return
    for child in getattr(node, "children", None) or ():
        yield from _resolver_calls(child)
