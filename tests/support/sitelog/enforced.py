"""Whether the API server has been seen to go by a policy, as `kubectl wait --for=condition=Enforced` tells."""

from sitelog.core.names import CONDITION_ENFORCED, Reason
from support.control_plane.api import Json

_OPEN = {Reason.NOT_IN_FORCE_YET.value, Reason.PROBE_FAILED.value}


def enforced(policy: Json) -> Json:
    """The condition Enforced of a policy as it is now; empty where it speaks of an earlier one, or is not there yet."""
    conditions = policy.get("status", {}).get("conditions") or ()
    found = [each for each in conditions if each["type"] == CONDITION_ENFORCED]
    return found[0] if found and found[0]["observedGeneration"] >= policy["metadata"]["generation"] else {}


def goes_by(policy: Json) -> bool:
    """Whether nothing is left open: what is to be refused is, and what is not passes."""
    return enforced(policy).get("reason", Reason.NOT_IN_FORCE_YET.value) not in _OPEN
