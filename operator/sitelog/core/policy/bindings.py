"""Which of the chart's admission policies are bound to which objects, so that the API server itself prohibits.

One binding of an admission policy stands for one SiteLogPolicy. It goes when that SiteLogPolicy says something else, or
is deleted; not when the CRD is, which takes all SiteLogPolicy objects along and says nothing about what a site wants.

A binding that selects or does something else has another name: the API server names the binding by which it refuses,
and so shows which state of a SiteLogPolicy it goes by.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sitelog.core.names import AdmissionPolicy

from .governed import Governed
from .policy import LogStreaming, Mode, Policy
from .selector import Requirement, Selector

_MOST = 253  # characters in the name of a cluster-scoped object
_DIGEST = 8  # hexadecimal digits


@dataclass(frozen=True)
class Binding:
    """One admission policy, bound to the objects that one SiteLogPolicy reaches.

    Attributes
    ----------
    name : of the binding.
    bound : which admission policy, and `policy_name`, its name.
    policy : `namespace/name` of the SiteLogPolicy.
    namespaces : selects them by name.
    objects : selects them by their labels.
    actions : what a failed validation does; empty of a mutating one.
    """

    name: str
    bound: AdmissionPolicy
    policy_name: str
    policy: str
    namespaces: Requirement
    objects: Selector
    actions: tuple[str, ...]


def binding_stem(policy_name: str, namespace: str, name: str) -> str:
    """Return what the names of all bindings begin with that stand for a SiteLogPolicy: no other one's do.

    Neither `policy_name` nor a namespace has a dot in it. A long name becomes its SHA-256.
    """
    readable = f"{policy_name}.{namespace}.{name}"
    if len(readable) <= _MOST - 1 - _DIGEST:
        return readable
    return f"{policy_name}.{namespace}.{hashlib.sha256(name.encode()).hexdigest()}"


def stem_of(name: str) -> str:
    """Return what the name of a binding begins with: all but the digest of what it says."""
    return name.rpartition(".")[0]


def namespace_of(name: str, policy_name: str) -> str:
    """Return the namespace of the SiteLogPolicy for which a binding stands."""
    return name.removeprefix(f"{policy_name}.").partition(".")[0]


def policy_name(prefix: str, bound: AdmissionPolicy) -> str:
    """Return the name of one of the chart's admission policies."""
    return f"{prefix}-{bound.value}"


def stems_for(prefix: str, namespace: str, name: str) -> frozenset[str]:
    """Return what the names of all bindings begin with that may stand for a SiteLogPolicy."""
    return frozenset(binding_stem(policy_name(prefix, bound), namespace, name) for bound in AdmissionPolicy)


def bindings_for(policy: Policy, governed: Governed, prefix: str) -> tuple[Binding, ...]:
    """Return what a SiteLogPolicy asks of the API server; nothing where it reaches no governed namespace."""
    namespaces = governed.reach(policy.namespace)
    if namespaces is None:
        return ()
    return tuple(_binding(policy, bound, namespaces, policy_name(prefix, bound)) for bound in _bound(policy))


def obsolete(
    stored: Mapping[str, str | None],
    wanted: Collection[str],
    readable: Iterable[Collection[str]],
    unreadable: Iterable[Collection[str]],
    crd_uid: str | None,
) -> frozenset[str]:
    """Return the names of the stored bindings that go.

    Parameters
    ----------
    stored : the bindings of namespaces whose SiteLogPolicy objects could be listed; for each the uid of the CRD under
        which its SiteLogPolicy was last seen; None: not known.
    wanted : names of bindings that stay.
    readable, unreadable : for each SiteLogPolicy that is there, its stems (`stems_for`).
    crd_uid : of the CRD as it was after the SiteLogPolicy objects were listed; None where it is gone, or going.
    """
    read = frozenset[str]().union(*readable)
    there = read.union(*unreadable)
    changed = {name for name in stored if stem_of(name) in read}
    gone = {name for name, seen in stored.items() if stem_of(name) not in there and crd_uid and seen == crd_uid}
    return frozenset((changed | gone) - set(wanted))


def probe_namespace(policy: Policy, governed: Governed, known: Iterable[str]) -> str | None:
    """Return a namespace that a SiteLogPolicy reaches; None where none is known.

    `known`: namespaces that are there.
    """
    if policy.namespace != governed.root:
        return policy.namespace if governed.has(policy.namespace) else None
    return next(filter(governed.has, (*sorted(governed.namespaces), "default", *sorted(known))), None)


def _binding(policy: Policy, bound: AdmissionPolicy, namespaces: Requirement, of: str) -> Binding:
    actions = _actions(bound, policy.mode)
    return Binding(
        name=f"{binding_stem(of, policy.namespace, policy.name)}.{_digest(namespaces, policy.selector, actions)}",
        bound=bound,
        policy_name=of,
        policy=policy.key,
        namespaces=namespaces,
        objects=policy.selector,
        actions=actions,
    )


def _digest(namespaces: Requirement, objects: Selector, actions: tuple[str, ...]) -> str:
    requirements = [[each.key, each.operator, each.values] for each in (namespaces, *objects.match_expressions)]
    said = json.dumps([requirements, sorted(objects.match_labels.items()), actions])
    return hashlib.sha256(said.encode()).hexdigest()[:_DIGEST]


def _bound(policy: Policy) -> Iterable[AdmissionPolicy]:
    enforced = policy.mode is Mode.ENFORCE
    if policy.log_streaming.prohibits_streamer:
        yield AdmissionPolicy.CONFIGMAPS
        yield AdmissionPolicy.PODS
        if enforced:
            yield AdmissionPolicy.PROVENANCE
    wants_error_logs = policy.error_log is not None and policy.error_log.upload
    if enforced and wants_error_logs and policy.log_streaming is not LogStreaming.FORBIDDEN:
        yield AdmissionPolicy.JOB_PODS


def _actions(bound: AdmissionPolicy, mode: Mode) -> tuple[str, ...]:
    if bound.mutating:
        return ()
    return ("Deny",) if mode is Mode.ENFORCE else ("Warn", "Audit")
