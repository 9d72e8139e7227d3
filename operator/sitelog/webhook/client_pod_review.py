"""The answer to the review of an FL client's pod: the gate goes in where a policy asks for it. Nothing is refused."""

from collections.abc import Mapping
from typing import Any

from sitelog.core.client_command import ClientCommandError
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.effective import EffectivePolicy, Policies
from sitelog.kube.gate_pods import (
    DEFAULT_ACCOUNT,
    ClientPod,
    parse_client_pod,
    put_gate_in,
    shared_account,
    unsupported,
)
from sitelog.kube.lock import pod_may_stream
from sitelog.kube.pods import parse_job_pod

from .review import Review, with_dry_run


def review_client_pod(body: Mapping[str, Any], policies: Policies, image: str) -> Review | None:
    """Put the gate into a new FL client's pod. None if it is no such pod, or has the gate already.

    `image` is Sitelog's own.
    """
    pod = parse_client_pod(body)
    if pod is None or not pod.bare or parse_job_pod(body) or pod_may_stream(body):
        return None  # what runs a job too, in whatever way, is judged as a job pod
    effective = policies.effective(pod.namespace, pod.labels)
    review = _review(body, pod, effective.enforced, image)
    return with_dry_run(review, _review(body, pod, effective.dry_run, image)) if effective.dry_run else review


def _review(body: Mapping[str, Any], pod: ClientPod, effective: EffectivePolicy, image: str) -> Review:
    asking = effective.gate_policy
    if asking is None:
        return Review(str(pod), Decision.UNGOVERNED.value, Reason.GATE_NOT_WANTED.value)
    try:
        merge = put_gate_in(
            body,
            image=image,
            policy=asking.key,
            fail_closed=effective.prohibits_streamer,
        )
    except ClientCommandError as error:
        code = Reason.COMMAND_UNSUPPORTED.value
        return Review(str(pod), code, code, asking.key, warnings=(unsupported(pod, asking, error),))
    code = Reason.GATE_INJECTED.value
    warnings = (shared_account(pod),) if pod.account == DEFAULT_ACCOUNT else ()
    return Review(str(pod), code, code, asking.key, merge=merge, warnings=warnings)
