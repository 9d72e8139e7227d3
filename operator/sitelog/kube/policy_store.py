"""The policies as a process knows them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sitelog.core.policy.effective import Effective, Policies
from sitelog.core.policy.governed import Governed
from sitelog.core.policy.policy import Policy

from .policies import PolicyError, parse_policy


class PolicyStore:
    """Keeps SiteLogPolicy objects as a watch tells them; decisions read it.

    Attributes
    ----------
    policies : all that count now.
    synced : whether the first list is in: before, nobody may take "no policy" for an answer.
    synced_at : when the last full list came in, as a Unix time.
    changes : how many the watch has told: a list that was asked for before the last change may be older than it, and
        must not be taken.
    unread : the namespaces whose policies could not be listed at last: what is known of them stays.
    """

    def __init__(self, governed: Governed) -> None:
        self.governed = governed
        self.policies = Policies(governed.root)
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
        self._publish()
        self.synced = True

    def put(self, body: Mapping[str, Any]) -> None:
        """Take one object, new or changed. One that cannot be used is remembered with its problem."""
        self.changes += 1
        self._put(body)
        self._publish()

    def drop(self, body: Mapping[str, Any]) -> None:
        """Forget one object."""
        self.changes += 1
        self._policies.pop(_key(body), None)
        self._problems.pop(_key(body), None)
        self._publish()

    def get(self, namespace: str, name: str) -> Policy | None:
        """Return a policy that counts, or None."""
        return self._policies.get((namespace, name))

    def problem(self, namespace: str, name: str) -> str | None:
        """Return what is wrong with a policy, or None."""
        return self._problems.get((namespace, name))

    def effective(self, namespace: str, labels: Mapping[str, str]) -> Effective:
        """Return what is in effect for an object of a namespace with these labels."""
        return self.policies.effective(namespace, labels)

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

    def _publish(self) -> None:
        self.policies = Policies(self.governed.root, tuple(policy for _, policy in sorted(self._policies.items())))


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    return str(body["metadata"].get("namespace", "")), str(body["metadata"]["name"])
