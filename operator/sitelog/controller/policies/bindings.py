"""Bindings of the chart's admission policies, kept as the SiteLogPolicy objects say.

The API server holds a prohibition by them, with or without a process of Sitelog. So they change only by what was seen:
whatever cannot be read changes nothing.
"""

import logging
from collections.abc import Iterable, Mapping

from sitelog.core.names import AdmissionPolicy
from sitelog.core.policy.bindings import Binding, bindings_for, namespace_of, obsolete, policy_name, stem_of, stems_for
from sitelog.kube.admission_bindings import (
    CRD,
    admission_bindings_path,
    admission_policy_path,
    bound_for,
    crd_seen_under,
)
from sitelog.kube.client import KubeClient, NotFoundError
from sitelog.kube.policy_list import list_policies
from sitelog.kube.policy_store import PolicyStore

from .binding_writer import BindingWriter, Json, Standing

log = logging.getLogger(__name__)


class BindingReconciler:
    """Keeps the bindings. Several controllers may: each write depends on what was read before.

    Parameters
    ----------
    prefix : of the names of the chart's admission policies.
    """

    def __init__(self, client: KubeClient, store: PolicyStore, prefix: str) -> None:
        self._client = client
        self._store = store
        self.prefix = prefix
        self._writer = BindingWriter(client, prefix)
        self._told: frozenset[str] = frozenset()

    async def reconcile(self) -> Standing:
        """Bring all of them into line.

        Raises
        ------
        ApiError
            What is there, or what is wanted, cannot be read: nothing was changed.
        """
        # In this order: a binding that is there was wanted by what the SiteLogPolicy objects said before they are
        # listed, and a CRD that is there afterwards was there when they were.
        owners = await self._admission_policies()
        stored = await self._stored()
        bodies = await list_policies(self._client, self._store)
        crd_uid = await self._crd_uid()
        store = PolicyStore(self._store.governed)
        store.replace(bodies, self._store.unread)
        standing = Standing(bodies, store)
        wanted = {binding.name: binding for binding in self._wanted(store, stored)}
        standing.granted = await self._writer.grant(stored.keys() | wanted.keys(), owners)
        for binding in wanted.values():
            await self._writer.keep(binding, stored.get(binding.name), owners.get(binding.bound), crd_uid, standing)
        # What is new stands before what is old goes.
        for name in sorted(self._obsolete(standing, wanted, stored, crd_uid)):
            if bound_for(stored[name]) not in standing.lacking:
                await self._writer.remove(stored[name], standing)
        return standing

    async def _admission_policies(self) -> dict[AdmissionPolicy, Json]:
        found = {}
        for bound in AdmissionPolicy:
            try:
                found[bound] = await self._client.get(admission_policy_path(bound, policy_name(self.prefix, bound)))
            except NotFoundError:
                continue  # the release is being removed; or this Kubernetes has no MutatingAdmissionPolicy
        return found

    async def _stored(self) -> dict[str, Json]:
        """Return ours, by name."""
        found = await self._client.list_all(admission_bindings_path(mutating=False))
        try:
            found += await self._client.list_all(admission_bindings_path(mutating=True))
        except NotFoundError:
            log.debug("this Kubernetes has no MutatingAdmissionPolicy")
        ours = {policy_name(self.prefix, bound) for bound in AdmissionPolicy}
        return {
            body["metadata"]["name"]: body
            for body in found
            if (name := body["spec"].get("policyName")) in ours and body["metadata"]["name"].startswith(f"{name}.")
        }

    async def _crd_uid(self) -> str | None:
        try:
            metadata = (await self._client.get(CRD))["metadata"]
        except NotFoundError:
            return None
        return None if metadata.get("deletionTimestamp") else str(metadata["uid"])

    def _wanted(self, store: PolicyStore, stored: Mapping[str, Json]) -> Iterable[Binding]:
        stems = set(map(stem_of, stored))
        for policy in store.policies:
            stays = stems & stems_for(self.prefix, policy.namespace, policy.name)
            if not (stays and store.problem(policy.namespace, policy.name)):
                yield from bindings_for(policy, self._store.governed, self.prefix)

    def _obsolete(
        self, standing: Standing, wanted: Iterable[str], stored: Mapping[str, Json], crd_uid: str | None
    ) -> frozenset[str]:
        readable: list[frozenset[str]] = []
        unreadable: list[frozenset[str]] = []
        for body in standing.bodies:
            namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
            stems = stems_for(self.prefix, namespace, name)
            (unreadable if standing.store.problem(namespace, name) else readable).append(stems)
        seen = {name: crd_seen_under(body) for name, body in stored.items() if not self._unread(body, standing)}
        goes = obsolete(seen, set(wanted), readable, unreadable, crd_uid)
        known = frozenset[str]().union(*readable, *unreadable)
        self._tell(name for name in seen.keys() - goes - set(wanted) if stem_of(name) not in known)
        return goes

    @staticmethod
    def _unread(stored: Json, standing: Standing) -> bool:
        name = stored["metadata"]["name"]
        return namespace_of(name, stored["spec"]["policyName"]) in standing.store.unread

    def _tell(self, left: Iterable[str]) -> None:
        names = frozenset(left)
        for name in sorted(names - self._told):
            log.warning(
                "binding %s stays: the CRD took its SiteLogPolicy along; apply that again, or delete the binding", name
            )
        self._told = names
