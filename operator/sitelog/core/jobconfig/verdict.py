"""The decision about one job configuration: text in, verdict out.

Allowed: NVFlare's JobLogStreamer is added where the job declares none. Whatever cannot be done leaves the text as it
is, with a warning: a site that allows is never stopped. Forbidden: every JobLogStreamer goes; a text about which that
cannot be said is refused.
"""

from dataclasses import dataclass
from typing import Any, Final

from sitelog.core.names import Decision, Reason
from sitelog.core.policy.policy import LogStreaming, Streamer

from . import editing, formats, streamer
from .budget import Budget, OverBudgetError
from .components import Component, Place, components, written
from .formats import Format
from .hidden_streamers import may_be_brought_in
from .json_text import UnreadableError
from .reading import Reading
from .resolver import Resolved, resolve
from .undecidable import UndecidableError

_BRACKET_STEPS: Final = 4  # to read an object or a list


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


def judge(
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
    log_streaming : what the effective policy says.
    parameters : of the streamer to inject.
    form : how the text is written.
    injected_before : the text carries Sitelog's provenance of an injection, so that an `auto_log_streamer` in it is
        ours to bring up to date.
    budget : the work that the decision may be.

    Raises
    ------
    OverBudgetError
        The decision is more work than a budget that is not final.
    """
    budget = budget or Budget(final=True)
    try:
        return _decide(text, log_streaming, parameters, form, budget, injected_before=injected_before)
    except OverBudgetError:
        if not budget.final:
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
        budget.spend(_BRACKET_STEPS * (text.count("[") + text.count("{")))
        if log_streaming.prohibits_streamer:
            return _strip(text, form, budget)
        return _inject(text, form, parameters, budget, injected_before=injected_before)
    except UnreadableError as error:
        return unusable(text, log_streaming, error.reason, str(error))
    except UndecidableError as error:
        return unusable(text, log_streaming, Reason.UNDECIDABLE, f"it cannot be followed: {error}")
    except RecursionError:
        return unusable(text, log_streaming, Reason.TOO_DEEP, "it is nested too deep to be followed")


def too_large(text: str, log_streaming: LogStreaming) -> Verdict:
    """Judge a configuration about which a decision would be more work than any may be."""
    return unusable(
        text, log_streaming, Reason.TOO_LARGE, "it takes more work to follow than a decision may take; make it smaller"
    )


def unusable(text: str, log_streaming: LogStreaming, reason: Reason, message: str) -> Verdict:
    """Judge a configuration that cannot be worked with: refused where the site forbids, left alone where it allows."""
    if log_streaming.prohibits_streamer:
        return Verdict(Decision.REFUSED, reason, message, None)
    return Verdict(Decision.UNREADABLE, reason, f"{message}; it passes as it is, without a log streamer", text)


def _inject(text: str, form: Format, parameters: Streamer, budget: Budget, *, injected_before: bool) -> Verdict:
    reading = formats.read(text, form)
    read = _read(reading.config, budget)
    ours = [c for c in read.streamers if injected_before and _is_ours(c, read.config)]
    _refuse_hidden(read, budget)
    if len(read.streamers) > len(ours):
        message = f"it declares a JobLogStreamer itself ({read.streamers[0].where})"
        return Verdict(Decision.DECLARED, Reason.STREAMER_DECLARED, message, text)
    if ours:
        wanted = streamer.entry(parameters, ours[0].description["id"])
        if ours[0].description == wanted:
            return Verdict(
                Decision.INJECTED,
                Reason.STREAMER_INJECTED,
                f"it has its JobLogStreamer for {parameters.log_file_name}",
                text,
            )
        after = editing.replaced(read.config, ours[0].place, wanted)
        result = _rewritten(reading, after, form)
    else:
        after = editing.extended(read.config, streamer.entry(parameters, streamer.free_id(read.built, text)))
        result = formats.extended(text, after, form) or _rewritten(reading, after, form)
    got = _read(after, budget)
    if len(got.streamers) != 1 or not _keeps_others(read, got, budget):
        raise UndecidableError("a JobLogStreamer more would change what else is built")
    return Verdict(
        Decision.INJECTED,
        Reason.STREAMER_INJECTED,
        f"a JobLogStreamer for {parameters.log_file_name} was added",
        result,
    )


def _is_ours(component: Component, config: dict[Any, Any]) -> bool:
    """Whether it stands where Sitelog puts one, under an id that Sitelog gives."""
    at_home = _is_listed(component, config) or len(component.place) == 1
    return at_home and str(component.description.get("id", "")).startswith(streamer.STREAMER_ID)


def _is_listed(component: Component, config: dict[Any, Any]) -> bool:
    """Whether it is an entry of the list of components, as it is written."""
    key, *position = component.place
    return key == "components" and len(position) == 1 and isinstance(config[key], list)


def _strip(text: str, form: Format, budget: Budget) -> Verdict:
    reading = formats.read(text, form)
    read = _read(reading.config, budget)
    found = read.streamers + [c for c in read.switched_off if _is_listed(c, read.config)]
    places = {component.place for component in found}
    gone, others = _apart(read.built, places)
    for component in others:
        if streamer.may_become_streamer(component):
            message = f"only the job itself would know what {component.where} is; name its class in the configuration"
            return Verdict(Decision.REFUSED, Reason.UNDECIDABLE, message, None)
    _refuse_environment(reading, places, budget)
    if not places:
        _refuse_hidden(read, budget)
        return Verdict(Decision.CLEAN, Reason.NO_STREAMER, "it has no JobLogStreamer", text)
    try:
        after = editing.without(read.config, [component.place for component in gone])
    except editing.NotRemovableError as error:
        return _not_removable(written(error.place))
    left = _read(after, budget)
    if left.streamers or not _keeps_others(read, left, budget):
        return _not_removable(found[0].where)
    _refuse_hidden(left, budget)
    message = f"its JobLogStreamer was removed ({', '.join(component.where for component in found)})"
    return Verdict(Decision.STRIPPED, Reason.STREAMER_STRIPPED, message, _rewritten(reading, after, form))


def _rewritten(reading: Reading, after: dict[str, Any], form: Format) -> str:
    """Write a configuration anew where that means the same in the job's environment."""
    if not reading.exact:
        raise UndecidableError("it has a value for what the job's environment may not set; write that value alone")
    return formats.dump(after, form)


def _refuse_environment(reading: Reading, removed: set[Place], budget: Budget) -> None:
    """Make sure that the job's environment cannot make a streamer."""
    if reading.elsewhere is None:
        return
    there = _read(reading.elsewhere, budget)
    streamers = {component.place for component in there.streamers}
    _, others = _apart(there.built, removed)
    for component in others:
        if component.place in streamers or streamer.may_become_streamer(component):
            raise UndecidableError(f"only the job's environment tells what {component.where} is; write its value")
    _refuse_hidden(there, budget)


def _refuse_hidden(read: "_Read", budget: Budget) -> None:
    """Make sure that nothing outside of the components describes a streamer that the environment could bring in."""
    if may_be_brought_in(read.config, read.resolved, read.built, budget):
        message = (
            "it describes a JobLogStreamer, and the job's environment may say that it is built; remove the description"
        )
        raise UndecidableError(message)


def _not_removable(where: str) -> Verdict:
    message = f"{where} is a JobLogStreamer that its owner needs; remove it from the job"
    return Verdict(Decision.REFUSED, Reason.NOT_REMOVABLE, message, None)


@dataclass(frozen=True)
class _Read:
    """A configuration, what NVFlare builds from it, and which of that are JobLogStreamers, switched off or not."""

    config: dict[Any, Any]
    resolved: Resolved
    built: list[Component]
    streamers: list[Component]
    switched_off: list[Component]


def _read(config: dict[Any, Any], budget: Budget) -> _Read:
    resolved = resolve(config, budget)
    built = components(resolved.config, budget)
    named = [component for component in built if streamer.names_streamer(component)]
    streamers = [component for component in named if component.disabled is not True]
    return _Read(config, resolved, built, streamers, [component for component in named if component.disabled is True])


def _keeps_others(before: _Read, after: _Read, budget: Budget) -> bool:
    """Whether everything but the streamers is built as before; of what owned one, only the class counts.

    What is nested stands in its owner's description, too.
    """
    owners = set()
    for component in before.streamers:
        budget.spend(len(component.place) ** 2)
        owners |= {component.place[:length] for length in range(len(component.place))}
    stays, kept = _others(before), _others(after)
    return len(stays) == len(kept) and all(
        old.class_name == new.class_name and (old.nested or old.place in owners or old.description == new.description)
        for old, new in zip(stays, kept, strict=True)
    )


def _others(read: _Read) -> list[Component]:
    _, others = _apart(read.built, {component.place for component in read.streamers + read.switched_off})
    return others


def _apart(built: list[Component], places: set[Place]) -> tuple[list[Component], list[Component]]:
    """Part the components at these places from the others. What is nested in one follows it, and goes with it."""
    gone: list[Component] = []
    others: list[Component] = []
    for component in built:
        if component.place in places:
            if not (gone and gone[-1].owns(component)):
                gone.append(component)
        elif not (gone and gone[-1].owns(component)):
            others.append(component)
    return gone, others
