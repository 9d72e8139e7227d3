"""The totals in a policy's status: every upload counts once, whichever process is killed in between.

A count is written together with the uid of what was counted (`status.pendingCounts`); when that object has carried its
own mark for a while, the uid goes again.
"""

import time
from collections.abc import Collection

from sitelog.core.names import GROUP, PLURAL, VERSION, UploadResult
from sitelog.kube.client import ConflictError, KubeClient, NotFoundError, path

_MOST = 900  # uids in the list; the schema takes 1000
_TRIES = 10


async def count(client: KubeClient, policy: str, result: UploadResult, uid: str) -> None:
    """Add one to a policy's total, unless this uid has been counted.

    Raises
    ------
    ApiError
        The status cannot be written now.
    """
    resource = policy_path(policy, "status")
    for more in reversed(range(_TRIES)):
        try:
            body = await client.get(policy_path(policy))
            status = body.get("status") or {}
            pending = status.get("pendingCounts") or []
            if uid in pending:
                return
            key = result.value.lower()
            total = int((status.get("uploads") or {}).get(key) or 0) + 1
            change = {
                "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
                "status": {"uploads": {key: total}, "pendingCounts": [*pending[-_MOST:], uid]},
            }
            await client.patch(resource, change)
        except ConflictError:
            if not more:
                raise  # what is not counted is not recorded either, and counted in the next round
            continue
        except NotFoundError:
            return  # the policy is gone, and its totals with it
        return


class Pending:
    """Tells which uids stay in the list.

    Parameters
    ----------
    linger : seconds for which a uid stays after its object was first seen with its mark: another controller may still
        go by what the object was before, and must find it counted.
    """

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._marked: dict[str, float] = {}

    def stay(self, uids: Collection[str], unmarked: Collection[str]) -> list[str]:
        """Return those that stay: whose objects carry no mark yet, or not for long."""
        now = time.monotonic()
        for uid in uids:
            if uid not in unmarked:
                self._marked.setdefault(uid, now)
        over = {uid for uid in uids if uid not in unmarked and now - self._marked[uid] >= self._linger}
        for uid in over:
            del self._marked[uid]
        return [uid for uid in uids if uid not in over]


def policy_path(policy: str, subresource: str = "") -> str:
    """Return the path of a policy, given as `namespace/name`."""
    namespace, _, name = policy.partition("/")
    return path(f"{GROUP}/{VERSION}", PLURAL, namespace, name, subresource)
