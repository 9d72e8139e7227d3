"""Raw FL job ids and client names as label values and object names that the Kubernetes API accepts.

Raw values come from outside and may hold anything. What had to change gets a short hash of the raw value, so that two
raw values do not meet in one label. A label finds objects; who an object belongs to is read from its annotations, where
the raw values stand.
"""

import hashlib
import json
import re

MAX_LABEL = 63
MAX_OBJECT_NAME = 63  # not the 253 of a DNS subdomain: Jobs and pods carry their name in labels too
_HASH_LENGTH = 10

_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_NOT_IN_LABEL = re.compile(r"[^A-Za-z0-9._-]+")
_NOT_IN_NAME = re.compile(r"[^a-z0-9-]+")


def label_value(raw: str) -> str:
    """Return `raw` as a label value: itself where it is one, else its safe characters, cut, and a hash.

    The result is 1 to 63 of ``[A-Za-z0-9._-]``, alphanumeric at both ends; never empty, so that the label selects.
    """
    if _LABEL_VALUE.fullmatch(raw):
        return raw
    return _with_hash(_NOT_IN_LABEL.sub("-", raw), short_hash(raw), MAX_LABEL)


def object_name(prefix: str, *parts: str) -> str:
    """Return the name of the object that stands for `parts`: the prefix, the first part made safe, a hash of all parts.

    Parameters
    ----------
    prefix
        Taken as it is, so it must be safe, start with a letter or digit and end with its own separator: ``sitelog-``.
    *parts
        Raw values that together tell one object from another. The same parts always give the same name.

    Returns
    -------
    str
        At most 63 of ``[a-z0-9-]``: safe as the name of a ConfigMap, Secret, Job or pod.
    """
    readable = _NOT_IN_NAME.sub("-", parts[0].lower()) if parts else ""
    return prefix + _with_hash(readable, short_hash(*parts), MAX_OBJECT_NAME - len(prefix))


def short_hash(*parts: str) -> str:
    """Return ten hexadecimal digits that stand for `parts`, their order and their borders."""
    # JSON keeps the borders between the parts and takes any text, lone surrogates too.
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:_HASH_LENGTH]


def _with_hash(readable: str, digest: str, length: int) -> str:
    kept = readable.lstrip("._-")[: length - len(digest) - 1].rstrip("._-")
    return f"{kept}-{digest}" if kept else digest
