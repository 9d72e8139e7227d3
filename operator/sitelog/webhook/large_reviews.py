"""Reviews that are too large for the event loop: decided in the decider's process, from the bytes to the answer."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from sitelog.core.configmap.decide import decide
from sitelog.core.jobconfig.budget import Budget, OverBudgetError
from sitelog.core.names import HANDLER_CONFIGMAPS
from sitelog.core.policy.effective import Policies
from sitelog.decider.door import Decider
from sitelog.kube.configmaps import parse_configmap
from sitelog.kube.policy_store import PolicyStore

from .admission_review import outline, parse_review
from .client_pod_review import review_client_pod
from .configmap_review import configmap_review
from .job_pod_review import review_pod
from .review import Review

# The answer to the review that kopf is given, where it was found beforehand.
FOUND: Final[ContextVar[Review | None]] = ContextVar("FOUND", default=None)


@dataclass(frozen=True)
class Asked:
    """A review as it came in, and what its answer rests on; `undecided`: look at no configuration, it is too much."""

    raw: bytes
    handler: str
    policies: Policies
    gate_image: str
    undecided: bool = False


class LargeReviews:
    """Answers them, one after another."""

    def __init__(self, decider: Decider, store: PolicyStore, gate_image: str) -> None:
        self._decider = decider
        self._store = store
        self._gate_image = gate_image

    async def answer(self, handler: str, raw: bytes) -> tuple[Any, Review]:
        """Return a review's outline for kopf, and the answer to it.

        Raises
        ------
        NotAReviewError
            It is none.
        OverBudgetError, NoAnswerError
            Nobody can tell; the API server does what it does while no webhook answers.
        """
        asked = (raw, handler, self._store.policies, self._gate_image)
        try:
            return await self._decider.run(review_raw, Asked(*asked))
        except OverBudgetError:
            return await self._decider.run(review_raw, Asked(*asked, undecided=True))


def review_raw(asked: Asked) -> tuple[Any, Review]:
    """Answer a review, in the decider's process."""
    review = parse_review(asked.raw)
    request = review["request"]
    body, old = request.get("object") or {}, request.get("oldObject") or None
    if asked.handler == HANDLER_CONFIGMAPS:
        configmap = parse_configmap(body, stored=old)
        effective = asked.policies.effective(configmap.namespace, configmap.labels)
        budget = Budget(0, final=True) if asked.undecided else None
        found = configmap_review(configmap, old, decide(configmap, effective, budget))
    else:
        of_client = review_client_pod(body, asked.policies, asked.gate_image)
        found = of_client or review_pod(body, asked.policies)
    return outline(review, found.merge), found
