"""SiteLogPolicy objects, from JSON to `core.policy.Policy`, and their status back.

The API server has checked them against the schema in `crds/` already. They are checked again here, because `sitelog
check` reads policies from files, and because a policy in a cluster may be older than its schema.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sitelog.core.governed import Governed
from sitelog.core.names import GROUP, KIND, VERSION
from sitelog.core.policy import InForce, LogStreaming, Mode, Policy, applicable, in_force

from .policy_spec import SpecError, parse_spec

_PROHIBITING = {word.value: word for word in LogStreaming if word.prohibits_streamer}


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
    try:
        return parse_spec(base, body.get("spec") or {})
    except SpecError as error:
        raise PolicyError(f"{KIND} {base.key}: {error}", _fallback(base, body.get("spec"))) from None


def _fallback(base: Policy, spec: Any) -> Policy | None:
    """Keep the prohibition of a policy that cannot be read otherwise, with the widest selector: it fails closed.

    Without a word that prohibits there is nothing to keep: a site that allows is not stopped.
    """
    word = spec.get("logStreaming") if isinstance(spec, Mapping) else None
    if not isinstance(word, str) or word not in _PROHIBITING:
        return None
    mode = Mode.DRY_RUN if spec.get("mode") == Mode.DRY_RUN.value else Mode.ENFORCE
    return replace(base, log_streaming=_PROHIBITING[word], mode=mode)


class PolicyBook:
    """The policies as a process knows them: kept up to date by a watch, read by decisions.

    `synced` is a state of its own: before the first list is in, nobody may take "no policy" for an answer. `synced_at`
    is when the last full list came in, as a Unix time. `changes` counts what the watch told: a list that was asked for
    before the last change may be older than it, and must not be taken. `unread` are the namespaces whose policies could
    not be listed at last: what is known of them stays.
    """

    def __init__(self, governed: Governed) -> None:
        self.governed = governed
        self.unread: frozenset[str] = frozenset()
        self.synced = False
        self.synced_at = 0.0
        self.changes = 0
        self._policies: dict[tuple[str, str], Policy] = {}
        self._problems: dict[tuple[str, str], str] = {}

    def replace(self, bodies: Sequence[Mapping[str, Any]], unread: Collection[str] = ()) -> None:
        """Take a whole list, but for the namespaces that could not be read."""
        self.unread = frozenset(unread)
        self._policies = {key: policy for key, policy in self._policies.items() if key[0] in unread}
        self._problems = {key: problem for key, problem in self._problems.items() if key[0] in unread}
        for body in bodies:
            self._put(body)
        self.synced = True

    def put(self, body: Mapping[str, Any]) -> None:
        """Take one object, new or changed. One that cannot be used is remembered with its problem."""
        self.changes += 1
        self._put(body)

    def _put(self, body: Mapping[str, Any]) -> None:
        key = _key(body)
        self._policies.pop(key, None)
        self._problems.pop(key, None)
        try:
            self._policies[key] = parse_policy(body)
        except PolicyError as error:
            self._problems[key] = str(error)
            if error.fallback:
                self._policies[key] = error.fallback

    def drop(self, body: Mapping[str, Any]) -> None:
        """Forget one object."""
        self.changes += 1
        self._policies.pop(_key(body), None)
        self._problems.pop(_key(body), None)

    def problem(self, namespace: str, name: str) -> str | None:
        """Return what is wrong with a policy, or None."""
        return self._problems.get((namespace, name))

    def in_force(self, namespace: str, labels: Mapping[str, str]) -> InForce:
        """Return what is in force for an object of a namespace with these labels."""
        root = self.governed.root
        return in_force(applicable(self.policies, root_namespace=root, namespace=namespace, labels=labels))

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All policies that count."""
        return tuple(self._policies.values())


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    return str(body["metadata"].get("namespace", "")), str(body["metadata"]["name"])
