"""What all policies together say about one object.

A policy in the object's own namespace matches where its selector does; one in the release namespace (the *root*)
reaches every namespace in the same way. The strictest wins: `Forbidden`, then `ErrorLogOnly`, then `Allowed`. Among
policies with the same log streaming the first in rank gives the parameters: higher priority, then older, then name.
Where it has no section about error logs, the next one's counts: first of those with the same, then of the laxer ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .policy import ErrorLog, Gate, LogStreaming, Mode, OnRevoke, Policy


@dataclass(frozen=True)
class EffectivePolicy:
    """What matching policies, in rank order, say together about one object."""

    policies: tuple[Policy, ...] = ()

    @property
    def governing(self) -> Policy | None:
        """The policy that decides and that messages name, or None: no policy governs the object."""
        return max(self.policies, key=lambda policy: policy.log_streaming.strictness, default=None)

    @property
    def key(self) -> str:
        """`namespace/name` of the policy that decides; empty where none governs."""
        return self.governing.key if self.governing else ""

    @property
    def log_streaming(self) -> LogStreaming | None:
        """The strictest value, or None where no policy governs."""
        return self.governing.log_streaming if self.governing else None

    @property
    def prohibits_streamer(self) -> bool:
        """Whether no JobLogStreamer may be built or started; False where no policy governs."""
        return self.log_streaming is not None and self.log_streaming.prohibits_streamer

    @property
    def error_log(self) -> ErrorLog | None:
        """The first error log section in rank order; None where no policy has one."""
        return next((policy.error_log for policy in self.policies if policy.error_log is not None), None)

    @property
    def gate_policy(self) -> Policy | None:
        """The first policy that wants the gate in the FL client's pod."""
        return next((policy for policy in self.policies if policy.gate is Gate.INJECTED), None)

    @property
    def deletes_pods(self) -> bool:
        """Whether a prohibition wants job pods deleted that are still streaming."""
        return any(
            policy.log_streaming.prohibits_streamer and policy.on_revoke is OnRevoke.DELETE_PODS
            for policy in self.policies
        )

    @property
    def client_names(self) -> tuple[str, ...]:
        """Every FL identity that a policy binds this object to, without repeats."""
        return tuple(dict.fromkeys(policy.client_name for policy in self.policies if policy.client_name))


@dataclass(frozen=True)
class Effective:
    """What is in effect for one object, and what a dry run shows.

    Attributes
    ----------
    enforced : what the policies in mode Enforce say.
    dry_run : what all policies would say if those in mode DryRun were enforced; None where there are none of them.
    """

    enforced: EffectivePolicy = EffectivePolicy()
    dry_run: EffectivePolicy | None = None


def effective(policies: Iterable[Policy], labels: Mapping[str, str]) -> Effective:
    """Return what policies say about an object with these labels that lies where all of them reach."""
    matching = tuple(sorted((each for each in policies if each.selector.matches(labels)), key=lambda each: each.rank))
    enforced = tuple(policy for policy in matching if policy.mode is Mode.ENFORCE)
    return Effective(EffectivePolicy(enforced), EffectivePolicy(matching) if matching != enforced else None)


@dataclass(frozen=True)
class Policies:
    """All policies that count at one moment.

    Attributes
    ----------
    root : the release's namespace; its policies reach every governed namespace.
    """

    root: str
    known: tuple[Policy, ...] = ()

    def effective(self, namespace: str, labels: Mapping[str, str]) -> Effective:
        """Return what is in effect for an object of a namespace with these labels."""
        return effective((policy for policy in self.known if policy.namespace in (namespace, self.root)), labels)

    def __iter__(self) -> Iterator[Policy]:
        return iter(self.known)
