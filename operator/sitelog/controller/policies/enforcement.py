"""The condition `Enforced`: whether the API server has been seen to hold what a SiteLogPolicy prohibits.

It is seen by dry runs that pass Sitelog's webhook by: what refuses them is the API server itself.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from sitelog.core.names import CONDITION_ENFORCED, AdmissionPolicy, Reason
from sitelog.core.policy.bindings import binding_stem, policy_name, probe_namespace, stem_of, stems_for
from sitelog.core.policy.policy import Mode, Policy
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError
from sitelog.kube.probes import Answer, probe

from .binding_writer import Standing
from .bindings import BindingReconciler
from .conditions import Finding, conditions_with, not_governed
from .totals import policy_path

_DEBOUNCE_SECONDS: Final = 0.05  # triggers within this time are answered together
_RETRY_SECONDS: Final = 0.2  # until a round that left something open is repeated; each time twice as many
_LATE: Final = 5.0  # and no more than these: a prohibition waits for it

log = logging.getLogger(__name__)


class Enforcement:
    """Has the bindings kept, asks the API server whether it goes by them, and says so in each SiteLogPolicy.

    Parameters
    ----------
    interval : seconds between rounds when nothing triggers one.
    """

    def __init__(self, client: KubeClient, bindings: BindingReconciler, *, interval: float) -> None:
        self._client = client
        self._bindings = bindings
        self._interval = interval
        self._seen: dict[str, list[str]] = {}
        self._triggered = asyncio.Event()

    def trigger(self) -> None:
        """Ask for a round soon."""
        self._triggered.set()

    async def run(self) -> None:
        """Reconcile for ever: apart from the loop, whose rounds may take long."""
        soon = _RETRY_SECONDS
        while True:
            self._triggered.clear()
            settled = await self._look()
            delay = self._interval if settled else soon
            soon = _RETRY_SECONDS if settled else min(2 * soon, _LATE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._triggered.wait(), timeout=delay)
                soon = _RETRY_SECONDS
            await asyncio.sleep(_DEBOUNCE_SECONDS)

    async def _look(self) -> bool:
        """Return whether nothing is left open."""
        try:
            standing = await self._bindings.reconcile()
            settled = [await self._tell(body, standing) for body in standing.bodies]
            self._seen = {key: self._seen[key] for key in self._seen.keys() & set(map(_key, standing.bodies))}
        except ApiError as error:
            log.warning("prohibitions stay as they are, trying again: %s", error)
            return False
        except Exception:
            # What is held stays held; the next round tries again.
            log.exception("prohibitions stay as they are, an error of ours, trying again")
            return False
        return all(settled)

    async def _tell(self, body: Mapping[str, Any], standing: Standing) -> bool:
        key = _key(body)
        if key in standing.touched:
            self._seen.pop(key, None)
        finding = await self._find(body, key, standing)
        settled = finding.reason not in {Reason.NOT_IN_FORCE_YET, Reason.PROBE_FAILED}
        conditions = conditions_with(body, CONDITION_ENFORCED, finding)
        if conditions == ((body.get("status") or {}).get("conditions") or []):
            return settled
        version = {"resourceVersion": body["metadata"]["resourceVersion"]}
        try:
            await self._client.patch(
                policy_path(key, "status"), {"metadata": version, "status": {"conditions": conditions}}
            )
        except (ConflictError, NotFoundError):
            return False  # it has changed meanwhile: the next round sees that
        except ApiError as error:
            if not error.status:
                raise
            log.warning("SiteLogPolicy %s: condition %s cannot be written: %s", key, CONDITION_ENFORCED, error)
        return settled  # the other policies do not wait for it

    async def _find(self, body: Mapping[str, Any], key: str, standing: Standing) -> Finding:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        if problem := standing.store.problem(namespace, name):
            message = (
                f"{problem}; correct the field: what the API server held for this policy before, it goes on holding"
            )
            return Finding("Unknown", Reason.SPEC_INVALID, message)
        policy = next(each for each in standing.store.policies if each.key == key)
        if standing.store.governed.reach(namespace) is None:
            return not_governed(namespace)
        if lacking := standing.lacking.get(key):
            return Finding("False", Reason.NOT_IN_FORCE_YET, lacking)
        if self._seen.get(key) != standing.versions.get(key, []) and (open_ := await self._ask(policy, standing)):
            return open_
        self._seen[key] = standing.versions.get(key, [])
        return _held(policy)

    async def _ask(self, policy: Policy, standing: Standing) -> Finding | None:
        """Return what is not seen yet; None: the API server goes by this policy."""
        labels = policy.selector.example
        known = {each.namespace for each in standing.store.policies}
        namespace = probe_namespace(policy, standing.store.governed, known)
        holds = policy.log_streaming.prohibits_streamer and policy.mode is Mode.ENFORCE
        if labels is None or (namespace is None and not holds):
            return None  # there is nothing that it could be asked for
        if namespace is None:
            return Finding("Unknown", Reason.PROBE_FAILED, "no governed namespace is known in which to see it")
        stems = stems_for(self._bindings.prefix, policy.namespace, policy.name)
        current = {version.partition("@")[0] for version in standing.versions.get(policy.key, ())}
        # Only where forged provenance is taken away does the API server refuse an object that has it.
        provenance = policy_name(self._bindings.prefix, AdmissionPolicy.PROVENANCE)
        forged = binding_stem(provenance, policy.namespace, policy.name) in map(stem_of, current)
        for bound, what in _ASKED:
            answer = await probe(self._client, bound, namespace, labels, forged=forged)
            ours = stem_of(answer.refused_by) in stems
            if holds and answer.problem:
                return Finding("Unknown", Reason.PROBE_FAILED, f"a dry run does not show it: {answer.problem}")
            if message := _not_yet(answer, f"{what} in {namespace}", current, holds=holds, ours=ours):
                return Finding("False", Reason.NOT_IN_FORCE_YET, message)
        return None


def _not_yet(answer: Answer, what: str, current: Collection[str], *, holds: bool, ours: bool) -> str:
    """Say what the API server does otherwise than a policy says by now; nothing, if nothing.

    Where policies overlap, a refusal by another one's binding shows as much. `current`: names of this one's bindings.
    """
    if not holds:
        return f"the API server still refuses {what} by binding {answer.refused_by}" if ours else ""
    if not answer.refused_by:
        return f"the API server does not refuse {what} yet"
    if ours and answer.refused_by not in current:
        return f"the API server still refuses {what} by what this policy said before ({answer.refused_by})"
    return ""


_ASKED: Final = (
    (AdmissionPolicy.CONFIGMAPS, "job configurations without provenance"),
    (AdmissionPolicy.PODS, "job pods that may stream"),
)


def _key(body: Mapping[str, Any]) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def _held(policy: Policy) -> Finding:
    if not policy.log_streaming.prohibits_streamer:
        return Finding("True", Reason.NOTHING_PROHIBITED, f"log streaming is {policy.log_streaming.value}")
    if policy.mode is Mode.DRY_RUN:
        return Finding("False", Reason.DRY_RUN, "the API server warns, and refuses nothing")
    if policy.selector.example is None:
        return Finding("True", Reason.NOTHING_PROHIBITED, "no object can have the labels that spec.selector asks for")
    message = (
        "the API server refuses job configurations that Sitelog has not decided about, and job pods that may stream"
    )
    return Finding("True", Reason.IN_FORCE, message)
