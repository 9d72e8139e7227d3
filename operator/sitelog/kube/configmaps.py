"""ConfigMaps: from JSON to values, and an outcome to a merge patch."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import LABEL_DECISION


class MalformedError(Exception):
    """An object that is not what the Kubernetes API calls by that name."""


def parse_configmap(body: Mapping[str, Any], *, stored: Mapping[str, Any] | None = None) -> ConfigMap:
    """Read a ConfigMap.

    Parameters
    ----------
    body : the object, as stored or as somebody wants it stored.
    stored : in the latter case what is stored now, None for a new object.

    Raises
    ------
    MalformedError
        A value of `binaryData` is not base64; the API server lets none through.
    """
    metadata = body.get("metadata") or {}
    binary = {}
    for key, text in (body.get("binaryData") or {}).items():
        try:
            binary[key] = base64.b64decode(text)
        except binascii.Error:
            raise MalformedError(f"ConfigMap {metadata.get('name')}: binaryData.{key} is not base64") from None
    return ConfigMap(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or metadata.get("generateName") or ""),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        data=body.get("data") or {},
        binary_data=binary,
        immutable=stored is not None and bool(stored.get("immutable")),
        provenance=_provenance(body) or _provenance(stored or {}),
    )


def _provenance(body: Mapping[str, Any]) -> dict[str, str]:
    metadata = body.get("metadata") or {}
    labels = metadata.get("labels") or {}
    return {**labels, **(metadata.get("annotations") or {})} if LABEL_DECISION in labels else {}


def stored_configmap(body: Mapping[str, Any]) -> ConfigMap:
    """Read a ConfigMap as it is stored."""
    return parse_configmap(body, stored=body)


def merge_for(configmap: ConfigMap, outcome: Outcome) -> dict[str, Any]:
    """Build the merge patch (RFC 7396) that brings a ConfigMap to its outcome; empty if it is there."""
    metadata = {
        "labels": _missing(configmap.labels, outcome.labels),
        "annotations": _missing(configmap.annotations, outcome.annotations),
    }
    data = {key: text for key, text in outcome.texts.items() if key not in configmap.binary_data}
    binary = {
        key: base64.b64encode(text.encode()).decode()
        for key, text in outcome.texts.items()
        if key in configmap.binary_data
    }
    merge = {"metadata": {key: value for key, value in metadata.items() if value}, "data": data, "binaryData": binary}
    return {key: value for key, value in merge.items() if value}


def _missing(current: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if current.get(key) != value}
