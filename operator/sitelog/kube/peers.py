"""The pods that run beside this one, and the share of a long work that each of them begins with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sitelog.core.labels import short_hash

from .client import KubeClient, path


@dataclass(frozen=True)
class Share:
    """One of `number` equal shares of all objects."""

    index: int
    number: int

    def has(self, uid: str) -> bool:
        """Whether an object is in it."""
        return int(short_hash(uid), 16) % self.number == self.index


WHOLE: Final = Share(0, 1)


async def share(client: KubeClient, namespace: str, pod: str) -> Share:
    """Return a pod's share: the pods of its ReplicaSet have one each. `WHOLE` if it is alone, or no pod.

    Raises
    ------
    ApiError
        The pods cannot be listed now.
    """
    if not pod:
        return WHOLE
    found = [body["metadata"] for body in await client.list_all(path("v1", "pods", namespace), metadata_only=True)]
    owner = next((_owner(metadata) for metadata in found if metadata["name"] == pod), None)
    peers = sorted(
        metadata["name"] for metadata in found if _owner(metadata) == owner and "deletionTimestamp" not in metadata
    )
    return Share(peers.index(pod), len(peers)) if owner and pod in peers else WHOLE


def _owner(metadata: Mapping[str, Any]) -> str | None:
    """Return the uid of what has made a pod."""
    owners = metadata.get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), None)
