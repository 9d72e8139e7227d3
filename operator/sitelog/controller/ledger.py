"""The totals in a policy's status: every upload counts once, whichever process is killed in between.

A count is written together with the uid of what was counted (`status.pendingCounts`); when that object carries its own
mark, the uid goes again.
"""

import logging
from collections.abc import Collection

from sitelog.core.names import GROUP, PLURAL, VERSION, UploadResult
from sitelog.kube.client import ConflictError, KubeClient, NotFoundError, path

_MOST = 900  # uids in the list; the schema takes 1000
_TRIES = 5

log = logging.getLogger(__name__)


async def count(client: KubeClient, policy: str, result: UploadResult, uid: str) -> None:
    """Add one to a policy's total, unless this uid has been counted.

    Raises
    ------
    ApiError
        The status cannot be written now.
    """
    resource = policy_path(policy, "status")
    for _ in range(_TRIES):
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
            continue
        except NotFoundError:
            return  # the policy is gone, and its totals with it
        return
    log.warning(
        "SiteLogPolicy %s: its status changes all the time, an upload stays uncounted until the next look", policy
    )


def settled(pending: Collection[str], unmarked: Collection[str]) -> list[str]:
    """Return the uids that have to stay in the list: those whose objects carry no mark yet."""
    return [uid for uid in pending if uid in unmarked]


def policy_path(policy: str, subresource: str = "") -> str:
    """Return the path of a policy, given as `namespace/name`."""
    namespace, _, name = policy.partition("/")
    return path(f"{GROUP}/{VERSION}", PLURAL, namespace, name, subresource)
