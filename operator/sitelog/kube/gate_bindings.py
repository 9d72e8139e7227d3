"""The one right of an injected gate: a RoleBinding in the FL client's namespace, for its ServiceAccount alone."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sitelog.core.names import GATE_INJECTED, LABEL_GATE

from .client import path

_GROUP: Final = "rbac.authorization.k8s.io"
BINDINGS: Final = (f"{_GROUP}/v1", "rolebindings")


def bindings_path(namespace: str, name: str = "") -> str:
    """Return the path of RoleBindings."""
    return path(*BINDINGS, namespace, name)


def gate_binding(namespace: str, role: str, kind: str, accounts: Collection[str]) -> dict[str, Any]:
    """Build the RoleBinding by which gates that run under these ServiceAccounts may publish.

    It is named after the role (`kind`: ClusterRole or Role), so that the controller's own rights can be limited to that
    name.
    """
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": role,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "sitelog", LABEL_GATE: GATE_INJECTED},
        },
        "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": role},
        "subjects": [
            {"kind": "ServiceAccount", "name": account, "namespace": namespace} for account in sorted(accounts)
        ],
    }


def bound_accounts(binding: Mapping[str, Any]) -> set[str]:
    """Return the ServiceAccounts of its own namespace that a stored RoleBinding is for."""
    here = binding["metadata"]["namespace"]
    return {
        subject["name"]
        for subject in binding.get("subjects") or ()
        if subject.get("kind") == "ServiceAccount" and subject.get("namespace") == here
    }
