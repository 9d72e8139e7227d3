"""FL clients' pods with the gate, which get the right to publish, and those that should have it and run without."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from sitelog.core.client_command import ClientCommandError
from sitelog.core.names import GATE_INJECTED, LABEL_GATE, Reason
from sitelog.core.policy.policy import Gate, Mode, Policy
from sitelog.kube.client import ApiError, ConflictError, KubeClient, NotFoundError, path
from sitelog.kube.events import Subject, record_event
from sitelog.kube.gate_bindings import BINDINGS, bindings_path, bound_accounts, gate_binding
from sitelog.kube.gate_pods import (
    DEFAULT_ACCOUNT,
    ClientPod,
    parse_client_pod,
    put_gate_in,
    shared_account,
    unsupported,
)
from sitelog.kube.lists import denied, pages
from sitelog.kube.policy_store import PolicyStore

_PAGE: Final = 200
_PODS: Final = ("v1", "pods")
_RETRY_SECONDS: Final = 2.0  # until a watch that failed is opened again
_RETRY_DENIED: Final = 30.0  # the same where the controller has no right
_INJECTED: Final = f"{LABEL_GATE}={GATE_INJECTED}"
_UNENDED: Final = "status.phase!=Succeeded,status.phase!=Failed"

log = logging.getLogger(__name__)


class GateReconciler:
    """Keeps the gates' RoleBindings in line with the pods and the policies.

    Parameters
    ----------
    role : the role that gates get in their namespace, and the name of the RoleBindings. A ClusterRole; where only some
        namespaces are governed, a Role in each of them.

    Attributes
    ----------
    missing : FL clients' pods that run without the gate, `namespace/name`, by the policy that asks for it.
    """

    def __init__(
        self,
        client: KubeClient,
        store: PolicyStore,
        *,
        role: str,
    ) -> None:
        self._client = client
        self._store = store
        self._role = role
        self._kind = "Role" if store.governed.namespaces else "ClusterRole"
        self._binding = asyncio.Lock()
        self.missing: Mapping[str, list[str]] = {}

    async def reconcile(self) -> None:
        """Reconcile all of it."""
        await self.bind()
        missing: dict[str, list[str]] = {}
        namespaces = self._store.governed.reached_by(filter(_asks, self._store.policies))
        query = {"fieldSelector": _UNENDED}
        async for page in pages(self._client, namespaces, _PODS, size=_PAGE, query=query):
            for body in page:
                await self._reconcile(body, missing)
        self.missing = missing

    async def follow(self) -> None:
        """Bind as soon as a pod with the gate appears: its first job may come seconds later."""
        async with asyncio.TaskGroup() as watches:
            for namespace in self._store.governed.objects:
                watches.create_task(self._follow(namespace))

    async def _follow(self, namespace: str) -> None:
        while True:
            pause = _RETRY_SECONDS
            try:
                async for _ in self._client.watch(path(*_PODS, namespace), labelSelector=_INJECTED):
                    await self.bind()
            except ApiError as error:
                pause = _RETRY_DENIED if denied(error) else _RETRY_SECONDS
                log.warning("pods with the gate are not watched, trying again in %.0f s: %s", pause, error)
            except Exception:
                # A broken object must not end the process; the next round sees the others.
                log.exception(
                    "pods with the gate are not watched, an error of ours, trying again in %.0f s", _RETRY_SECONDS
                )
            await asyncio.sleep(pause)

    async def bind(self) -> None:
        """Give each gate its right, and take away what nobody needs any more."""
        async with self._binding:
            used: dict[str, set[str]] = {}
            wanted: dict[str, set[str]] = {}
            unread: dict[str, ApiError] = {}
            for pod in await self._injected(unread):
                used.setdefault(pod.namespace, set()).add(pod.account)
                if self._policy_for(pod):
                    wanted.setdefault(pod.namespace, set()).add(pod.account)
            stored = {body["metadata"]["namespace"]: body for body in await self._stored(unread)}
            for namespace in sorted((wanted.keys() | stored.keys()) - unread.keys()):
                accounts = wanted.get(namespace, set())
                if before := stored.get(namespace):
                    accounts |= self._kept(before, used.get(namespace, set()))
                await self._bring_into_line(namespace, accounts, before)

    async def _injected(self, unread: dict[str, ApiError]) -> list[ClientPod]:
        """Return the pods that may need the right."""
        query = {"labelSelector": _INJECTED}
        found = pages(self._client, self._store.governed.objects, _PODS, unread, query=query)
        pods = [parse_client_pod(body) async for page in found for body in page]
        return [
            pod for pod in pods if pod and not pod.finished and pod.account != DEFAULT_ACCOUNT and self._governs(pod)
        ]

    async def _stored(self, unread: dict[str, ApiError]) -> list[dict[str, Any]]:
        """Return the RoleBindings that are there."""
        query = {"fieldSelector": f"metadata.name={self._role}"}
        found = pages(self._client, self._store.governed.objects, BINDINGS, unread, query=query)
        return [body async for page in found for body in page]

    def _governs(self, pod: ClientPod) -> bool:
        return self._store.governed.has(pod.namespace)

    def _policy_for(self, pod: ClientPod) -> Policy | None:
        """Return the policy that wants the gate in this pod."""
        return self._store.effective(pod.namespace, pod.labels).enforced.gate_policy

    def _kept(self, binding: Mapping[str, Any], used: set[str]) -> set[str]:
        """Return who stays: a pod that is being made anew finds its right, and one that runs on keeps it."""
        namespace = binding["metadata"]["namespace"]
        reach = (namespace, self._store.governed.root)
        if any(_asks(policy) and policy.namespace in reach for policy in self._store.policies):
            return bound_accounts(binding) - {DEFAULT_ACCOUNT}
        return bound_accounts(binding) & used

    async def _bring_into_line(self, namespace: str, accounts: set[str], before: Mapping[str, Any] | None) -> None:
        after = gate_binding(namespace, self._role, self._kind, accounts)
        if before and accounts and all(before.get(key) == after[key] for key in ("roleRef", "subjects")):
            return
        resource = bindings_path(namespace, self._role)
        try:
            if before and accounts and before["roleRef"] == after["roleRef"]:
                version = {"resourceVersion": before["metadata"]["resourceVersion"]}
                await self._client.patch(resource, {"metadata": version, "subjects": after["subjects"]})
            else:
                if before:
                    await self._client.delete(resource, uid=before["metadata"]["uid"])
                if accounts:
                    await self._client.create(bindings_path(namespace), after)
        except (ConflictError, NotFoundError):
            return  # it, or the namespace, has changed meanwhile: the next round sees that
        except ApiError as error:
            log.warning("RoleBinding %s/%s cannot be written, trying again: %s", namespace, self._role, error)
            return  # the other namespaces do not wait for it
        log.info("RoleBinding %s/%s: for %s", namespace, self._role, ", ".join(sorted(accounts)) or "nobody: removed")

    async def _reconcile(self, body: Mapping[str, Any], missing: dict[str, list[str]]) -> None:
        pod = parse_client_pod(body)
        if pod is None or pod.finished or not self._governs(pod) or not (policy := self._policy_for(pod)):
            return
        subject = Subject("Pod", pod.namespace, pod.name, pod.uid)
        if pod.bare:
            missing.setdefault(policy.key, []).append(f"{pod.namespace}/{pod.name}")
            await record_event(self._client, subject, Reason.GATE_MISSING, _missing(body, pod, policy), warning=True)
        elif pod.account == DEFAULT_ACCOUNT:
            await record_event(self._client, subject, Reason.GATE_ACCOUNT_SHARED, shared_account(pod), warning=True)


def _asks(policy: Policy) -> bool:
    return policy.gate is Gate.INJECTED and policy.mode is Mode.ENFORCE


def _missing(body: Mapping[str, Any], pod: ClientPod, policy: Policy) -> str:
    try:
        put_gate_in(body, image="", policy=policy.key, fail_closed=True)
    except ClientCommandError as error:
        return unsupported(pod, policy, error)
    again = "it is made again with the gate" if pod.replaced else "create it again, and it gets the gate"
    return f"{pod} runs without the gate that SiteLogPolicy {policy.key} asks for; delete it: {again}"
