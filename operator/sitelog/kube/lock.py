"""The second lock on a pod's JSON: read its containers, and build the patch that holds them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sitelog.core.jobpod.container import Container, Variable
from sitelog.core.jobpod.lock import hold_pod, is_forbidding_variable, may_stream
from sitelog.core.names import FORBIDDING_VALUE, FORBIDDING_VARIABLE

_KINDS: Final = ("containers", "initContainers")
_RUNNING_KINDS: Final = (*_KINDS, "ephemeralContainers")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")


def pod_may_stream(body: Mapping[str, Any]) -> bool:
    """Whether nothing keeps some job process of a running pod from streaming."""
    return may_stream(_parse(container) for kind in _RUNNING_KINDS for container in body["spec"].get(kind) or ())


def hold_in_pod(body: Mapping[str, Any]) -> dict[str, Any]:
    """Build the changes to a new pod's spec that keep its job processes from streaming; empty if nothing is to change.

    Raises
    ------
    CommandError
        A container cannot be kept from it.
    """
    spec = body["spec"]
    before = {kind: spec.get(kind) or [] for kind in _KINDS}
    held = iter(hold_pod([_parse(container) for kind in _KINDS for container in before[kind]]))
    after = {kind: [_with(container, next(held)) for container in before[kind]] for kind in _KINDS}
    return {kind: after[kind] for kind in _KINDS if after[kind] != before[kind]}


def _parse(container: Mapping[str, Any]) -> Container:
    return Container(
        name=str(container.get("name") or ""),
        command=tuple(container.get("command") or ()),
        args=tuple(container.get("args") or ()),
        hooks=tuple(_hooks(container)),
        environment=tuple(
            Variable(str(each.get("name") or ""), str(each.get("value") or "")) for each in container.get("env") or ()
        ),
        directory=str(container.get("workingDir") or ""),
    )


def _hooks(container: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    lifecycle = container.get("lifecycle") or {}
    handlers = (*(lifecycle.get(key) for key in ("postStart", "preStop")), *(container.get(key) for key in _PROBES))
    for handler in handlers:
        yield tuple(((handler or {}).get("exec") or {}).get("command") or ())


def _with(container: Mapping[str, Any], held: Container) -> dict[str, Any]:
    """Give a container as it is held: its command line, and its environment with the variable."""
    changed = dict(container)
    for key, argv in (("command", held.command), ("args", held.args)):
        if argv:
            changed[key] = list(argv)
    before = container.get("env") or []
    if _parse(container).environment != held.environment:
        kept = [each for each in before if not is_forbidding_variable(each["name"])]
        changed["env"] = [*kept, {"name": FORBIDDING_VARIABLE, "value": FORBIDDING_VALUE}]
    return changed
