"""Admission reviews as the API server sends them: read as far as kopf relies on it, and cut down for kopf."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sitelog.core.names import LABEL_DECISION, Decision

_NULL: Final = msgspec.Raw(b"null")


class NotAReviewError(Exception):
    """A body that is no AdmissionReview of admission.k8s.io/v1 with a request and an object."""


def parse_review(body: bytes) -> Any:
    """Read an admission review.

    Not by Python's `json`, which takes three times as long, and more memory. The configurations in it are only texts
    here: those are read as NVFlare reads them.

    Raises
    ------
    NotAReviewError
        It is none.
    """
    try:
        review = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        parts = msgspec.json.decode(review.pop("request"), type=dict[str, msgspec.Raw])
        old = parts.pop("oldObject", _NULL)
        request = _read(parts)
        read = {**_read(review), "request": {**request, "oldObject": _stored(old, request.get("object"))}}
        known = _is_known(read["request"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        known = False
    if not known:
        raise NotAReviewError
    return read


def _is_known(request: Mapping[str, Any]) -> bool:
    return (
        isinstance(request["uid"], str)
        and isinstance(request["userInfo"], dict)
        and {"group", "version", "resource"} <= request["resource"].keys()
        and isinstance(request.get("object") or {}, dict)
        and bool(request.get("object") or request.get("oldObject"))
    )


def _read(parts: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(part) for name, part in parts.items()}


def _stored(raw: msgspec.Raw, new: Any) -> dict[str, Any] | None:
    """Read what is stored without its data, as far as nothing depends on that: it may be as large as what is new.

    Whether a configuration stays as it is matters only where somebody marks it as refused.
    """
    parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw] | None)
    if parts is None:
        return None
    labels = ((new or {}).get("metadata") or {}).get("labels") or {}
    marked = labels.get(LABEL_DECISION) == Decision.REFUSED.value
    return _read({name: part for name, part in parts.items() if marked or name not in ("data", "binaryData")})


def outline(review: Mapping[str, Any], merge: Mapping[str, Any]) -> dict[str, Any]:
    """Leave of a review what kopf needs to make a JSON patch of a merge patch: which of the places in it exist."""
    request = review["request"]
    cut = dict.fromkeys(key for key in ("object", "oldObject") if request.get(key))
    for key in cut:
        metadata = request[key].get("metadata") or {}
        names = {name: metadata[name] for name in ("name", "generateName", "namespace", "uid") if name in metadata}
        places = _places(request[key], merge)
        cut[key] = {**places, "metadata": {**places.get("metadata", {}), **names}}
    return {**review, "request": {**request, **cut}}


def _places(body: Mapping[str, Any], merge: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _places(body[key], value) if isinstance(body[key], Mapping) and isinstance(value, Mapping) else None
        for key, value in merge.items()
        if key in body
    }
