"""Bindings of the chart's admission policies, as manifests."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sitelog.core.names import ANNOTATION_CRD_UID, ANNOTATION_POLICY, GROUP, PLURAL, AdmissionPolicy
from sitelog.core.policy.bindings import Binding
from sitelog.core.policy.selector import Requirement, Selector

from .client import path

_API: Final = "admissionregistration.k8s.io/v1"
_RBAC: Final = "rbac.authorization.k8s.io/v1"
CRD: Final = path("apiextensions.k8s.io/v1", "customresourcedefinitions", name=f"{PLURAL}.{GROUP}")


def _kind(bound: AdmissionPolicy) -> str:
    return "MutatingAdmissionPolicy" if bound.mutating else "ValidatingAdmissionPolicy"


def admission_policy_path(bound: AdmissionPolicy, name: str) -> str:
    """Return the path of an admission policy."""
    return path(_API, "mutatingadmissionpolicies" if bound.mutating else "validatingadmissionpolicies", name=name)


def admission_bindings_path(*, mutating: bool, name: str = "") -> str:
    """Return the path of bindings; without a name of all."""
    return path(_API, f"{'mutating' if mutating else 'validating'}admissionpolicybindings", name=name)


def admission_binding(binding: Binding, owner: Mapping[str, Any], crd_uid: str | None) -> dict[str, Any]:
    """Build a binding, with every field as the API server stores it.

    `owner`: its admission policy, with which it goes at an uninstall. `crd_uid`: of the CRD of SiteLogPolicy.
    """
    kind = _kind(binding.bound)
    spec: dict[str, Any] = {
        "policyName": binding.policy_name,
        "matchResources": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [_expression(binding.namespaces)]},
            "objectSelector": _selector(binding.objects),
        },
    }
    if binding.actions:
        spec["validationActions"] = list(binding.actions)
    seen_under = {ANNOTATION_CRD_UID: crd_uid} if crd_uid else {}
    return {
        "apiVersion": _API,
        "kind": f"{kind}Binding",
        "metadata": {
            "name": binding.name,
            "labels": {"app.kubernetes.io/managed-by": "sitelog"},
            "annotations": {ANNOTATION_POLICY: binding.policy, **seen_under},
            "ownerReferences": [_owner(kind, owner["metadata"])],
        },
        "spec": spec,
    }


def bound_role_path(prefix: str) -> str:
    """Return the path of the ClusterRole by which bindings of ours, and no others, may be written."""
    return path(_RBAC, "clusterroles", name=f"{prefix}-bound")


def bound_role(prefix: str, names: Collection[str], owner: Mapping[str, Any]) -> dict[str, Any]:
    """Build the ClusterRole by which bindings of these names may be written. `owner`: an admission policy."""
    return {
        "apiVersion": _RBAC,
        "kind": "ClusterRole",
        "metadata": {
            "name": f"{prefix}-bound",
            "labels": {"app.kubernetes.io/managed-by": "sitelog"},
            "ownerReferences": [_owner("ValidatingAdmissionPolicy", owner["metadata"])],
        },
        "rules": [
            {
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["mutatingadmissionpolicybindings", "validatingadmissionpolicybindings"],
                "resourceNames": sorted(names),
                "verbs": ["create", "delete", "patch", "update"],
            }
        ]
        if names
        else [],
    }


def stored_as(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a stored binding says what is wanted; labels and annotations of others may stand beside ours."""
    ours, theirs = wanted["metadata"], stored["metadata"]
    return (
        stored["spec"] == wanted["spec"]
        and theirs.get("ownerReferences") == ours["ownerReferences"]
        and all(ours[key].items() <= (theirs.get(key) or {}).items() for key in ("labels", "annotations"))
    )


def replacing(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Build what a stored binding is replaced by, unless it has changed meanwhile."""
    ours, theirs = wanted["metadata"], stored["metadata"]
    merged = {key: {**(theirs.get(key) or {}), **ours[key]} for key in ("labels", "annotations")}
    return {**wanted, "metadata": {**ours, **merged, "resourceVersion": theirs["resourceVersion"]}}


def bound_for(stored: Mapping[str, Any]) -> str:
    """Return `namespace/name` of the SiteLogPolicy for which a binding is stored."""
    return str((stored["metadata"].get("annotations") or {}).get(ANNOTATION_POLICY, ""))


def crd_seen_under(stored: Mapping[str, Any]) -> str | None:
    """Return the uid of the CRD under which the SiteLogPolicy of a stored binding was last seen."""
    uid = (stored["metadata"].get("annotations") or {}).get(ANNOTATION_CRD_UID)
    return str(uid) if uid else None


def _owner(kind: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    return {"apiVersion": _API, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}


def _selector(selector: Selector) -> dict[str, Any]:
    labels = {"matchLabels": dict(selector.match_labels)} if selector.match_labels else {}
    expressions = [_expression(each) for each in selector.match_expressions]
    return {**labels, **({"matchExpressions": expressions} if expressions else {})}


def _expression(requirement: Requirement) -> dict[str, Any]:
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": requirement.operator, **values}
