"""Bindings of the chart's admission policies, kept as the SiteLogPolicy objects say.

The API server holds a prohibition by them, with or without a process of Sitelog. So they change only by what was seen:
whatever cannot be read changes nothing.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sitelog.core.bindings import Binding, bindings_for, names_for, namespace_of, obsolete, policy_name
from sitelog.core.names import ANNOTATION_POLICY, AdmissionPolicy
from sitelog.kube.admission_bindings import (
    CRD,
    admission_binding,
    admission_bindings_path,
    admission_policy_path,
    bound_role,
    bound_role_path,
    crd_seen_under,
    replacing,
    stored_as,
)
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError
from sitelog.kube.policies import PolicyBook
from sitelog.kube.watching import list_policies

log = logging.getLogger(__name__)

Json = dict[str, Any]


@dataclass
class Standing:
    """What stands after a look.

    Attributes
    ----------
    bodies, book : the SiteLogPolicy objects as they were listed, and as they are read.
    versions : by SiteLogPolicy a value that is another one after any change to what stands for it.
    lacking : by SiteLogPolicy why that is not what it asks for.
    touched : SiteLogPolicy objects whose bindings this look wrote or removed.
    """

    bodies: list[Json]
    book: PolicyBook
    versions: dict[str, list[str]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)


class Bindings:
    """Keeps the bindings. Several controllers may: each write depends on what was read before.

    Parameters
    ----------
    prefix : of the names of the chart's admission policies.
    """

    def __init__(self, client: KubeClient, book: PolicyBook, prefix: str) -> None:
        self._client = client
        self._book = book
        self.prefix = prefix
        self._told: frozenset[str] = frozenset()

    async def look(self) -> Standing:
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
        bodies = await list_policies(self._client, self._book)
        crd_uid = await self._crd_uid()
        book = PolicyBook(self._book.governed)
        book.replace(bodies, self._book.unread)
        standing = Standing(bodies, book)
        wanted = {binding.name: binding for binding in self._wanted(book, stored)}
        if not await self._granted(stored.keys() | wanted.keys(), owners):
            standing.lacking = dict.fromkeys(
                (policy.key for policy in book.policies),
                "the right to write bindings of these names has just been given",
            )
            return standing  # the API server may not know of it yet: the next look goes on
        for binding in wanted.values():
            await self._keep(binding, stored.get(binding.name), owners.get(binding.bound), crd_uid, standing)
        # What is new stands before what is old goes.
        for name in sorted(self._obsolete(standing, wanted, stored, crd_uid)):
            await self._remove(stored[name], standing)
        return standing

    async def _admission_policies(self) -> dict[AdmissionPolicy, Json]:
        found = {}
        for bound in AdmissionPolicy:
            try:
                found[bound] = await self._client.get(admission_policy_path(bound, policy_name(self.prefix, bound)))
            except NotFoundError:
                continue  # the release is being removed; or this Kubernetes has no MutatingAdmissionPolicy
        return found

    async def _granted(self, names: Collection[str], owners: Mapping[AdmissionPolicy, Json]) -> bool:
        """Return whether bindings of these names may be written; else give the right, to these and no others."""
        owner = owners.get(AdmissionPolicy.CONFIGMAPS)
        if owner is None:
            return True  # the release is being removed, and nothing is written
        role = bound_role(self.prefix, names, owner)
        try:
            stored = await self._client.get(bound_role_path(self.prefix))
        except NotFoundError:
            stored = {}
        if (stored.get("rules") or []) == role["rules"]:
            return True
        await self._client.apply(bound_role_path(self.prefix), role)
        return False

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

    def _wanted(self, book: PolicyBook, stored: Mapping[str, Json]) -> Iterable[Binding]:
        for policy in book.policies:
            stays = names_for(self.prefix, policy.namespace, policy.name) & stored.keys()
            if not (stays and book.problem(policy.namespace, policy.name)):
                yield from bindings_for(policy, self._book.governed, self.prefix)

    def _obsolete(
        self, standing: Standing, wanted: Iterable[str], stored: Mapping[str, Json], crd_uid: str | None
    ) -> frozenset[str]:
        readable: list[frozenset[str]] = []
        unreadable: list[frozenset[str]] = []
        for body in standing.bodies:
            namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
            names = names_for(self.prefix, namespace, name)
            (unreadable if standing.book.problem(namespace, name) else readable).append(names)
        seen = {name: crd_seen_under(body) for name, body in stored.items() if not self._unread(body, standing)}
        goes = obsolete(seen, set(wanted), readable, unreadable, crd_uid)
        self._tell(seen.keys() - goes - set(wanted) - frozenset[str]().union(*unreadable))
        return goes

    @staticmethod
    def _unread(stored: Json, standing: Standing) -> bool:
        name = stored["metadata"]["name"]
        return namespace_of(name, stored["spec"]["policyName"]) in standing.book.unread

    def _tell(self, left: Iterable[str]) -> None:
        names = frozenset(left)
        for name in sorted(names - self._told):
            log.warning(
                "binding %s stays: the CRD took its SiteLogPolicy along; apply that again, or delete the binding", name
            )
        self._told = names

    async def _keep(
        self, binding: Binding, before: Json | None, owner: Json | None, crd_uid: str | None, standing: Standing
    ) -> None:
        if owner is None:
            if not binding.bound.mutating:
                standing.lacking[binding.policy] = f"ValidatingAdmissionPolicy {binding.policy_name} is missing"
            return
        wanted = admission_binding(binding, owner, crd_uid)
        after = before
        if before is None or not stored_as(before, wanted):
            after = await self._write(binding, before, wanted, standing)
        if after is not None:
            version = f"{binding.name}@{after['metadata']['resourceVersion']}@{owner['metadata']['generation']}"
            standing.versions.setdefault(binding.policy, []).append(version)

    async def _write(self, binding: Binding, before: Json | None, wanted: Json, standing: Standing) -> Json | None:
        standing.touched.add(binding.policy)
        resource = admission_bindings_path(mutating=binding.bound.mutating, name=binding.name)
        try:
            if before is None:
                after = await self._client.apply(resource, wanted)  # a POST is not limited to names
            else:
                after = await self._client.replace(resource, replacing(before, wanted))
        except (ConflictError, NotFoundError):
            standing.lacking[binding.policy] = f"binding {binding.name} has just been changed"
            return None  # by another controller: the next look sees that
        except ApiError as error:
            log.warning("SiteLogPolicy %s: binding %s cannot be written: %s", binding.policy, binding.name, error)
            standing.lacking[binding.policy] = f"binding {binding.name} cannot be written: {error}"
            return None  # the other bindings do not wait for it
        log.info("SiteLogPolicy %s: binding %s is written", binding.policy, binding.name)
        return after

    async def _remove(self, body: Json, standing: Standing) -> None:
        metadata = body["metadata"]
        policy = (metadata.get("annotations") or {}).get(ANNOTATION_POLICY, "")
        standing.touched.add(policy)
        resource = admission_bindings_path(mutating="validationActions" not in body["spec"], name=metadata["name"])
        try:
            await self._client.delete(resource, uid=metadata["uid"], version=metadata["resourceVersion"])
        except NotFoundError:
            return
        except ApiError as error:
            log.warning("SiteLogPolicy %s: binding %s cannot be removed: %s", policy, metadata["name"], error)
            standing.lacking[policy] = f"binding {metadata['name']} cannot be removed: {error}"
            return  # the other bindings do not wait for it
        log.info("SiteLogPolicy %s: binding %s is removed", policy, metadata["name"])
