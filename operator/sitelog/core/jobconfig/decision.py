"""The decision about one job configuration: text in, verdict out.

Allowed: NVFlare's JobLogStreamer is added where the job declares none. Whatever cannot be done leaves the text as it
is, with a warning: a site that allows is never stopped. Forbidden: every JobLogStreamer goes; a text about which that
cannot be said is refused.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sitelog.core.names import Decision, Reason
from sitelog.core.policy import LogStreaming, Streamer

from . import formats, loader, streamer
from .aliasing import refuse_aliases
from .budget import Budget, OverBudgetError
from .formats import Format
from .json_text import UnreadableError
from .loader import Component
from .undecidable import UndecidableError
from .variables import Scope, resolve


@dataclass(frozen=True)
class Verdict:
    """What was decided about one configuration, and why.

    Attributes
    ----------
    decision, reason : the codes.
    message : a sentence that continues "the configuration ...", names places in it, never its content.
    text : the resulting text; None if the configuration is refused.
    """

    decision: Decision
    reason: Reason
    message: str
    text: str | None


def decide(
    text: str,
    log_streaming: LogStreaming,
    parameters: Streamer,
    form: Format = Format.JSON,
    *,
    injected_before: bool = False,
    budget: Budget | None = None,
) -> Verdict:
    """Decide about the text of a job configuration.

    Parameters
    ----------
    text : the configuration as it is.
    log_streaming : the word of the policies in force.
    parameters : of the streamer to inject.
    form : how the text is written.
    injected_before : the text carries Sitelog's stamp of an injection, so that an `auto_log_streamer` in it is ours to
        bring up to date.
    budget : the work that the decision may be. Without one it may be as much as a decision ever may; what is more than
        that cannot be decided.

    Raises
    ------
    OverBudgetError
        The decision is more work than the budget given.
    """
    try:
        return _decide(text, log_streaming, parameters, form, budget or Budget(), injected_before=injected_before)
    except OverBudgetError:
        if budget is not None:
            raise
        return too_large(text, log_streaming)


def _decide(
    text: str,
    log_streaming: LogStreaming,
    parameters: Streamer,
    form: Format,
    budget: Budget,
    *,
    injected_before: bool,
) -> Verdict:
    try:
        budget.spend_characters(len(text))
        if log_streaming.prohibits_streamer:
            return _strip(text, form)
        return _inject(text, form, parameters, injected_before=injected_before)
    except UnreadableError as error:
        return unusable(text, log_streaming, error.reason, str(error))
    except UndecidableError as error:
        return unusable(text, log_streaming, Reason.UNDECIDABLE, f"it cannot be followed at {error}")
    except RecursionError:
        return unusable(text, log_streaming, Reason.TOO_DEEP, "it is nested too deep to be followed")


def too_large(text: str, log_streaming: LogStreaming) -> Verdict:
    """Judge a configuration about which a decision would be more work than any may be."""
    return unusable(text, log_streaming, Reason.TOO_LARGE, "it is more than can be followed in time")


def unusable(text: str, log_streaming: LogStreaming, reason: Reason, message: str) -> Verdict:
    """Judge a configuration that cannot be worked with: refused where the site forbids, left alone where it allows."""
    if log_streaming.prohibits_streamer:
        return Verdict(Decision.REFUSED, reason, message, None)
    return Verdict(Decision.UNREADABLE, reason, f"{message}; it passes as it is, without a log streamer", text)


def _inject(text: str, form: Format, parameters: Streamer, *, injected_before: bool) -> Verdict:
    config = formats.parse(text, form)
    components = loader.components(config)
    declared = [component for component in components if streamer.names_streamer(component)]
    entries = _entries(config)
    if entries is None:
        message = "its `components` is not a list"
        return unusable(text, LogStreaming.ALLOWED, Reason.COMPONENTS_INVALID, message)
    ours = [c for c in declared if injected_before and _is_ours(c)]
    if len(declared) > len(ours):
        message = f"it declares a JobLogStreamer itself ({declared[0].where})"
        return Verdict(Decision.DECLARED, Reason.STREAMER_DECLARED, message, text)
    if ours:
        index = ours[0].place[1]
        wanted = streamer.entry(parameters, ours[0].value.raw["id"])
        if entries[index] == wanted:
            return Verdict(Decision.INJECTED, Reason.STREAMER_INJECTED, "it has its JobLogStreamer", text)
        result = formats.dump({**config, "components": [*entries[:index], wanted, *entries[index + 1 :]]}, form)
    else:
        added = streamer.entry(parameters, streamer.free_id(_ids(components)))
        result = formats.extend(text, {**config, "components": [*entries, added]}, form)
    return Verdict(Decision.INJECTED, Reason.STREAMER_INJECTED, "it got a JobLogStreamer", result)


def _entries(config: dict[str, Any]) -> list[Any] | None:
    """Return the entries of `components`, put in place of a reference; None if it cannot be one list."""
    raw = config.get("components")
    if raw is None:
        return []
    value = resolve(raw, Scope(config)).raw
    return value if isinstance(value, list) else None


def _is_ours(component: Component) -> bool:
    return (
        len(component.place) == 2  # noqa: PLR2004 - ("components", index)
        and component.place[0] == "components"
        and isinstance(component.place[1], int)
        and str(component.value.raw.get("id", "")).startswith(streamer.STREAMER_ID)
    )


def _ids(components: Iterable[Component]) -> set[str]:
    ids = (component.value.child(component.value.raw.get("id")).raw for component in components)
    return {component_id for component_id in ids if isinstance(component_id, str)}


def _strip(text: str, form: Format) -> Verdict:
    config = formats.parse(text, form)
    found: list[Component] = []
    components = loader.components(config)
    if components:
        refuse_aliases(config)
    for component in components:
        if any(component.place[: len(gone.place)] == gone.place for gone in found):
            continue  # it goes with its owner
        if streamer.names_streamer(component):
            if not _is_entry(component, config):
                if component.disabled:
                    continue  # it stays where it is and is not built
                message = f"{component.where} is a JobLogStreamer that its owner needs; remove it from the job"
                return Verdict(Decision.REFUSED, Reason.NOT_REMOVABLE, message, None)
            found.append(component)
        elif streamer.may_become_streamer(component):
            message = f"only the job itself would know what {component.where} is; name its class in the configuration"
            return Verdict(Decision.REFUSED, Reason.UNDECIDABLE, message, None)
    if not found:
        return Verdict(Decision.CLEAN, Reason.NO_STREAMER, "it has no JobLogStreamer", text)
    _remove(config, found)
    places = ", ".join(component.where for component in found)
    return Verdict(
        Decision.STRIPPED,
        Reason.STREAMER_STRIPPED,
        f"it lost its JobLogStreamer ({places})",
        formats.dump(config, form),
    )


def _is_entry(component: Component, config: dict[str, Any]) -> bool:
    """Whether it can go without a trace: an entry of a list of components, or one under a key of its own.

    A list that an invocation makes has no place of its own from which an entry could go.
    """
    key = component.place[0]
    own = len(component.place) == 1 or not resolve(config[key], Scope(config)).scope.local
    return not component.nested and str(key).startswith("components") and own


def _remove(config: dict[str, Any], found: list[Component]) -> None:
    """Take the components out, the last first so that positions hold."""
    for component in sorted(found, key=lambda c: c.place[1:], reverse=True):
        key = component.place[0]
        if len(component.place) == 1:  # a top-level key spelt `components.#1`
            del config[key]
            continue
        entries = resolve(config[key], Scope(config)).raw
        if entries is not config[key]:
            config[key] = entries = copy.deepcopy(entries)
        del entries[component.place[1]]
