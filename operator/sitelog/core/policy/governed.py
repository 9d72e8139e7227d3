"""Which namespaces Sitelog governs: where policies are read, where objects are reviewed, and whom a policy reaches."""

from collections.abc import Iterable
from dataclasses import dataclass

from sitelog.core.names import LABEL_NAMESPACE_NAME

from .policy import Policy
from .selector import Requirement

EVERYWHERE = ("",)  # one list over all namespaces


@dataclass(frozen=True)
class Governed:
    """The governed namespaces.

    Attributes
    ----------
    root : the release's namespace. Its policies reach every governed namespace; it is not governed itself.
    namespaces : the governed ones; empty: every namespace that is not excluded.
    excluded : never governed.
    """

    root: str
    namespaces: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    def has(self, namespace: str) -> bool:
        """Whether objects in a namespace are governed."""
        listed = not self.namespaces or namespace in self.namespaces
        return listed and namespace not in self._left_out

    @property
    def objects(self) -> tuple[str, ...]:
        """The namespaces in which governed objects are listed; `EVERYWHERE` lists those of others, too."""
        return tuple(sorted(filter(self.has, self.namespaces))) if self.namespaces else EVERYWHERE

    @property
    def policies(self) -> tuple[str, ...]:
        """The namespaces in which policies are read."""
        return tuple(sorted({*self.objects, self.root})) if self.namespaces else EVERYWHERE

    def reached_by(self, policies: Iterable[Policy]) -> tuple[str, ...]:
        """Return the namespaces in which objects that these policies reach are listed."""
        found = {policy.namespace for policy in policies}
        return self.objects if self.root in found else tuple(sorted(filter(self.has, found)))

    def reach(self, namespace: str) -> Requirement | None:
        """Return what selects the namespaces that a policy in this one reaches, by name; None: it reaches none."""
        if namespace != self.root:
            return Requirement(LABEL_NAMESPACE_NAME, "In", (namespace,)) if self.has(namespace) else None
        if not self.namespaces:
            return Requirement(LABEL_NAMESPACE_NAME, "NotIn", tuple(sorted(self._left_out)))
        return Requirement(LABEL_NAMESPACE_NAME, "In", self.objects) if self.objects else None

    @property
    def _left_out(self) -> frozenset[str]:
        return self.excluded | {self.root}
