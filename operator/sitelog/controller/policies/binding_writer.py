"""Writes bindings of admission policies, and says what then stands. Each write depends on what was read before."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sitelog.core.names import AdmissionPolicy
from sitelog.core.policy.bindings import Binding
from sitelog.kube.admission_bindings import (
    admission_binding,
    admission_bindings_path,
    bound_for,
    bound_role,
    bound_role_path,
    replacing,
    stored_as,
)
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError
from sitelog.kube.policy_store import PolicyStore

log = logging.getLogger(__name__)

Json = dict[str, Any]


@dataclass
class Standing:
    """What stands after a round.

    Attributes
    ----------
    bodies, store : the SiteLogPolicy objects as they were listed, and as they are read.
    versions : by SiteLogPolicy a value that is another one after any change to what stands for it.
    lacking : by SiteLogPolicy why that is not what it asks for.
    touched : SiteLogPolicy objects whose bindings this round wrote or removed.
    granted : names of bindings that may be written.
    """

    bodies: list[Json]
    store: PolicyStore
    versions: dict[str, list[str]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    granted: frozenset[str] = frozenset()


class BindingWriter:
    """Writes for one release.

    Parameters
    ----------
    prefix : of the names of the chart's admission policies.
    """

    def __init__(self, client: KubeClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def grant(self, names: Collection[str], owners: Mapping[AdmissionPolicy, Json]) -> frozenset[str]:
        """Give the right to write bindings of these names, and of no others.

        Returns
        -------
        frozenset[str]
            Those that could be written before: of the others the API server may not know yet.
        """
        owner = owners.get(AdmissionPolicy.CONFIGMAPS)
        if owner is None:
            return frozenset()  # the release is being removed
        role = bound_role(self._prefix, names, owner)
        try:
            stored = await self._client.get(bound_role_path(self._prefix))
        except NotFoundError:
            stored = {}
        rules = stored.get("rules") or []
        if rules != role["rules"]:
            await self._client.apply(bound_role_path(self._prefix), role)
        return frozenset(name for rule in rules for name in rule.get("resourceNames") or ())

    async def keep(
        self, binding: Binding, before: Json | None, owner: Json | None, crd_uid: str | None, standing: Standing
    ) -> None:
        """Create a binding, or bring it into line. `before`: as it is stored; `owner`: its admission policy."""
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
        if binding.name not in standing.granted:
            standing.lacking[binding.policy] = f"the right to write binding {binding.name} has just been given"
            return None  # the next round goes on
        resource = admission_bindings_path(mutating=binding.bound.mutating, name=binding.name)
        try:
            if before is None:
                after = await self._client.apply(resource, wanted)  # a POST is not limited to names
            else:
                after = await self._client.replace(resource, replacing(before, wanted))
        except (ConflictError, NotFoundError):
            standing.lacking[binding.policy] = f"binding {binding.name} has just been changed"
            return None  # by another controller: the next round sees that
        except ApiError as error:
            log.warning("SiteLogPolicy %s: binding %s cannot be written: %s", binding.policy, binding.name, error)
            standing.lacking[binding.policy] = f"binding {binding.name} cannot be written: {error}"
            return None  # the other bindings do not wait for it
        log.info("SiteLogPolicy %s: binding %s is written", binding.policy, binding.name)
        return after

    async def remove(self, body: Json, standing: Standing) -> None:
        """Remove a stored binding."""
        metadata = body["metadata"]
        policy = bound_for(body)
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
