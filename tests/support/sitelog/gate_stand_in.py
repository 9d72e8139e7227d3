"""Admission of the API server's own, playing Sitelog's webhook for the gate: no process, but a real answer.

One namespace for each thing that the webhook can say.
"""

import json
from types import TracebackType
from typing import Any, Self

from support.control_plane.api import ApiError
from support.control_plane.control_plane import ControlPlane
from support.wait import wait_for

ALLOWED = "gate-allowed"  # a streamer is declared: stamped, not changed
FORBIDDEN = "gate-forbidden"  # replaced by STRIPPED and stamped
REFUSED = "gate-refused"  # denied by a ValidatingAdmissionPolicy with REFUSAL
EXTRA = "gate-extra"  # a second key is added
RENAMED = "gate-renamed"  # the key is replaced by another one
WEBHOOK_DOWN = "gate-webhook-down"  # a webhook with failurePolicy Fail that nothing serves
PER_JOB = (
    "gate-per-job"  # as the configuration's own "stand_in" says: Allowed, Forbidden (both stamped only) or Refused
)
UNGOVERNED = "gate-ungoverned"  # nothing at all
NAMESPACES = (ALLOWED, FORBIDDEN, REFUSED, EXTRA, RENAMED, WEBHOOK_DOWN, PER_JOB, UNGOVERNED)

STRIPPED = '{"components": [], "comment": "as the policy left it: é"}\n'
REFUSAL = "policy gate-refused/hospital forbids log streaming, and the configuration cannot be read"

_GROUP = "/apis/admissionregistration.k8s.io/v1"
_MUTATING = "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"
_VALIDATING = "validatingadmissionpolicies", "validatingadmissionpolicybindings"
_RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]
_CARRIES = "has(object.data) && object.data.exists(k, k.startsWith('config_fed_client.'))"
_SAYS = f'({_CARRIES}) && object.data.exists(k, object.data[k].contains(\'"stand_in": "%s"\'))'
_BASE64 = "has(object.binaryData) && object.binaryData.exists(k, k.startsWith('config_fed_client.'))"


class StandIn:
    """Context manager: the namespaces and their admission, in force when it is entered."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._made: list[str] = []

    def __enter__(self) -> Self:
        for namespace in NAMESPACES:
            self._make("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self._mutate(ALLOWED, _provenance("Declared", "'Allowed'", "StreamerDeclared"))
        self._mutate(FORBIDDEN, _provenance("Stripped", "'Forbidden'", "StreamerStripped"), _replace_content())
        self._mutate(
            EXTRA, _patch('JSONPatch{op: "add", path: "/data/config_fed_client.conf", value: "components=[]"}')
        )
        self._mutate(
            RENAMED,
            _patch(
                'JSONPatch{op: "add", path: "/data/other", value: "x"}', _per_key('JSONPatch{op: "remove", path: %s}')
            ),
        )
        self._mutate(PER_JOB, _provenance("Clean", f"({_SAYS % 'Forbidden'}) ? 'Forbidden' : 'Allowed'", "NoStreamer"))
        self._refuse(REFUSED, _CARRIES)
        self._refuse(PER_JOB, _SAYS % "Refused")
        self._break_webhook()
        self._wait_until_in_force()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for path in reversed(self._made):
            self._control_plane.api.delete(path)

    def _make(self, collection: str, manifest: dict[str, Any]) -> None:
        self._control_plane.api.create(collection, manifest)
        self._made.append(f"{collection}/{manifest['metadata']['name']}")

    def _mutate(self, namespace: str, *mutations: dict[str, Any]) -> None:
        spec = {
            "matchConstraints": {"resourceRules": _RULES},
            "matchConditions": [{"name": "carries-a-configuration", "expression": f"({_CARRIES}) || ({_BASE64})"}],
            "mutations": list(mutations),
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
        }
        self._bind(_MUTATING, namespace, spec, {})

    def _refuse(self, namespace: str, condition: str) -> None:
        spec = {
            "matchConstraints": {"resourceRules": _RULES},
            "matchConditions": [{"name": "concerns-it", "expression": condition}],
            "validations": [{"expression": "false", "message": REFUSAL}],
        }
        self._bind(_VALIDATING, namespace, spec, {"validationActions": ["Deny"]})

    def _bind(self, kinds: tuple[str, str], namespace: str, spec: dict[str, Any], binding: dict[str, Any]) -> None:
        policies, bindings = kinds
        metadata = {"name": f"stand-in-{namespace}"}
        self._make(f"{_GROUP}/{policies}", {"metadata": metadata, "spec": spec})
        scope = {"matchResources": {"namespaceSelector": _only(namespace)}, "policyName": metadata["name"]}
        self._make(f"{_GROUP}/{bindings}", {"metadata": metadata, "spec": {**scope, **binding}})

    def _break_webhook(self) -> None:
        webhook = {
            "name": "configmaps.stand-in.test",
            "clientConfig": {"url": "https://127.0.0.1:1/configmaps"},  # nothing listens on port 1
            "rules": [{**_RULES[0], "scope": "Namespaced"}],
            "namespaceSelector": _only(WEBHOOK_DOWN),
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        collection = f"{_GROUP}/mutatingwebhookconfigurations"
        self._make(collection, {"metadata": {"name": "stand-in-webhook-down"}, "webhooks": [webhook]})

    def _wait_until_in_force(self) -> None:
        for namespace in NAMESPACES:
            if namespace != UNGOVERNED:
                wait_for(lambda namespace=namespace: self._acts(namespace), 60, f"admission in {namespace}")

    def _acts(self, namespace: str) -> bool:
        manifest = {"metadata": {"generateName": "probe-"}, "data": {"config_fed_client.json": "{}"}}
        try:
            answer = self._control_plane.api.create(f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All", manifest)
        except ApiError:
            return namespace in (REFUSED, WEBHOOK_DOWN)
        return bool(answer["data"] != manifest["data"] or "labels" in answer["metadata"])


def _only(namespace: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def _provenance(decision: str, log_streaming: str, reason: str) -> dict[str, Any]:
    """Set the provenance; `log_streaming` is an expression."""
    stamps = {
        "sitelog.dev/log-streaming": log_streaming,
        "sitelog.dev/reason": f"'{reason}'",
        "sitelog.dev/policy": "'stand-in/hospital'",
    }
    labels = {"sitelog.dev/managed": "'true'", "sitelog.dev/decision": f"'{decision}'"}
    expression = f"Object{{metadata: Object.metadata{{labels: {_map(labels)}, annotations: {_map(stamps)}}}}}"
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def _replace_content() -> dict[str, Any]:
    text = json.dumps(STRIPPED, ensure_ascii=False)
    return _patch(_per_key(f'JSONPatch{{op: "replace", path: %s, value: {text}}}'))


def _per_key(operation: str) -> str:
    """One JSON patch operation for each configuration in data; `operation` has %s where the path stands."""
    return "*" + operation % '"/data/" + k'


def _patch(*operations: str) -> dict[str, Any]:
    """A CEL list of operations; one that begins with * stands for a list over the object's configurations."""
    single = [operation for operation in operations if not operation.startswith("*")]
    each = [operation[1:] for operation in operations if operation.startswith("*")]
    keys = "(has(object.data) ? object.data.map(k, k) : []).filter(k, k.startsWith('config_fed_client.'))"
    expression = " + ".join([f"[{', '.join(single)}]"] * bool(single) + [f"{keys}.map(k, {one})" for one in each])
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def _map(expressions: dict[str, str]) -> str:
    return "{" + ", ".join(f"'{key}': {expression}" for key, expression in expressions.items()) + "}"
