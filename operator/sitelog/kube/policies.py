"""SiteLogPolicy objects, from JSON to values.

The API server has checked them against the schema in `crds/` already. They are checked again here, because `sitelog
check` reads policies from files, and because a policy in a cluster may be older than its schema.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sitelog.core.names import GROUP, KIND, VERSION
from sitelog.core.policy.policy import LogStreaming, Mode, Policy

from .policy_spec import SpecError, parse_spec

_PROHIBITING = {each.value: each for each in LogStreaming if each.prohibits_streamer}


class PolicyError(Exception):
    """A SiteLogPolicy that cannot be used. The message names the object, the field and what is wrong with it.

    Attributes
    ----------
    fallback : what is in force all the same: a policy that prohibits goes on prohibiting, whatever else it says.
    """

    def __init__(self, message: str, fallback: Policy | None) -> None:
        super().__init__(message)
        self.fallback = fallback


def parse_policy(body: Mapping[str, Any], *, default_namespace: str = "") -> Policy:
    """Read a SiteLogPolicy.

    Raises
    ------
    PolicyError
        The object is no SiteLogPolicy, or a field of it cannot be used.
    """
    metadata = body.get("metadata") or {}
    base = Policy(
        namespace=str(metadata.get("namespace") or default_namespace),
        name=str(metadata.get("name") or ""),
        generation=int(metadata.get("generation") or 0),
        created=str(metadata.get("creationTimestamp") or ""),
    )
    if body.get("apiVersion") != f"{GROUP}/{VERSION}" or body.get("kind") != KIND:
        raise PolicyError(f"'{base.key}' is no {KIND} of {GROUP}/{VERSION}", None)
    if not base.name:
        raise PolicyError(f"{KIND} {base.key}: metadata.name: it is required", None)
    try:
        return parse_spec(base, body.get("spec") or {})
    except SpecError as error:
        raise PolicyError(f"{KIND} {base.key}: {error}", _fallback(base, body.get("spec"))) from None


def _fallback(base: Policy, spec: Any) -> Policy | None:
    """Keep the prohibition of a policy that cannot be read otherwise, with the widest selector: it fails closed.

    Without a value that prohibits there is nothing to keep: a site that allows is not stopped.
    """
    value = spec.get("logStreaming") if isinstance(spec, Mapping) else None
    if not isinstance(value, str) or value not in _PROHIBITING:
        return None
    mode = Mode.DRY_RUN if spec.get("mode") == Mode.DRY_RUN.value else Mode.ENFORCE
    return replace(base, log_streaming=_PROHIBITING[value], mode=mode)
