"""The answer to the review of a job pod: labels, capture of its error log, and the second lock."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sitelog.core.errorlog.upload_plan import Plan, plan_upload
from sitelog.core.jobpod.command_line import CommandError
from sitelog.core.jobpod.identity import Identity, IdentityError, check_identity, parse_identity
from sitelog.core.jobpod.pod import JobPod
from sitelog.core.names import (
    ANNOTATION_UPLOAD,
    ANNOTATION_UPLOAD_REASON,
    FINALIZER_ERROR_LOG,
    Decision,
    Reason,
    UploadResult,
)
from sitelog.core.policy.effective import EffectivePolicy, Policies
from sitelog.core.policy.policy import Capture, ErrorLog, Policy
from sitelog.kube.lock import hold_in_pod
from sitelog.kube.pods import identity_marks, parse_pod
from sitelog.kube.sidecar import has_sidecar, sidecar

from .review import Review, with_dry_run


def review_pod(body: Mapping[str, Any], policies: Policies) -> Review:
    """Label a new job pod, so that it is found by job and client, and its end is watched; forbid it to stream."""
    pod = parse_pod(body)
    effective = policies.effective(pod.namespace, pod.labels)
    review = _review(body, pod, effective.enforced)
    return with_dry_run(review, _review(body, pod, effective.dry_run)) if effective.dry_run else review


def _review(body: Mapping[str, Any], pod: JobPod, effective: EffectivePolicy) -> Review:
    if effective.governing is None:
        return Review(str(pod), Decision.UNGOVERNED.value, Reason.NO_POLICY.value)
    held: Mapping[str, Any] = {}
    if effective.prohibits_streamer:
        try:
            held = hold_in_pod(body)
        except CommandError as error:
            return _not_holdable(pod, effective.governing, error)
    if not pod.argv:
        return Review(str(pod), Decision.UNGOVERNED.value, Reason.NO_POLICY.value)
    review = _watched({**body, "spec": {**body["spec"], **held}}, pod, effective, effective.governing)
    if not effective.prohibits_streamer:
        return review
    spec = {**held, **review.merge.get("spec", {})}
    merge = {**review.merge, "spec": spec} if spec else review.merge
    return replace(review, reason=Reason.STREAMING_FORBIDDEN.value, merge=merge)


def _watched(body: Mapping[str, Any], pod: JobPod, effective: EffectivePolicy, policy: Policy) -> Review:
    """Have the pod found by job and client, and kept until its error log is captured where that is wanted."""
    review = _labelled(pod, effective, policy)
    plan = plan_upload(pod, effective)
    return _with_capture(body, review, plan.error_log) if isinstance(plan, Plan) else _not_held(body, review)


def _labelled(pod: JobPod, effective: EffectivePolicy, policy: Policy) -> Review:
    try:
        identity = parse_identity(pod.argv)
    except IdentityError as error:
        return _unidentified(pod, policy, error)
    warnings = _identity_warnings(pod, identity, effective)
    return Review(
        subject=str(pod),
        decision=Reason.JOB_POD_LABELLED.value,
        reason=Reason.JOB_POD_LABELLED.value,
        policy=policy.key,
        merge={"metadata": identity_marks(identity)},
        warnings=warnings,
    )


def _not_held(body: Mapping[str, Any], review: Review) -> Review:
    """Take away the finalizer that the API server gives to every job pod, in case no webhook answers."""
    finalizers = (body.get("metadata") or {}).get("finalizers") or ()
    if FINALIZER_ERROR_LOG not in finalizers:
        return review
    kept = [finalizer for finalizer in finalizers if finalizer != FINALIZER_ERROR_LOG]
    return replace(review, merge={**review.merge, "metadata": {**review.merge["metadata"], "finalizers": kept}})


def _with_capture(body: Mapping[str, Any], review: Review, settings: ErrorLog) -> Review:
    """Have the pod kept until its error log is captured, and the log copied by a sidecar where the policy says so.

    The finalizer is what makes sure: NVFlare's launcher deletes a pod within a second of some ends, and the controller
    may be starting anew just then.
    """
    metadata = body.get("metadata") or {}
    kept = [finalizer for finalizer in metadata.get("finalizers") or () if finalizer != FINALIZER_ERROR_LOG]
    changes = {**review.merge["metadata"], "finalizers": [*kept, FINALIZER_ERROR_LOG]}
    review = replace(review, merge={**review.merge, "metadata": changes})
    if settings.capture is not Capture.SIDECAR or has_sidecar(body):
        return review
    container = sidecar(body)
    if container is None:
        why = "its workspace is on no volume that a sidecar could read"
        warning = f"{review.subject}: its error log is taken from its container's output, because {why}"
        return replace(review, warnings=(*review.warnings, warning))
    spec = {"initContainers": [*(body["spec"].get("initContainers") or ()), container]}
    return replace(review, reason=Reason.SIDECAR_ADDED.value, merge={**review.merge, "spec": spec})


def _not_holdable(pod: JobPod, policy: Policy, error: CommandError) -> Review:
    message = (
        f"{pod}: SiteLogPolicy {policy.key} prohibits log streaming, and nothing would keep this pod from it: {error};"
        " start the job by NVFlare's launcher"
    )
    return Review(
        subject=str(pod),
        decision=Decision.REFUSED.value,
        reason=Reason.COMMAND_UNSUPPORTED.value,
        policy=policy.key,
        refusal=message,
    )


def _identity_warnings(pod: JobPod, identity: Identity, effective: EffectivePolicy) -> tuple[str, ...]:
    if not effective.client_names:
        return ()
    try:
        check_identity(identity, effective)
    except IdentityError as error:
        return (f"{pod}: {error}; its error log will not be uploaded",)
    return ()


def _unidentified(pod: JobPod, policy: Policy, error: IdentityError) -> Review:
    message = f"{pod}: {error}; its error log will not be uploaded"
    annotations = {
        ANNOTATION_UPLOAD: UploadResult.SKIPPED.value,
        ANNOTATION_UPLOAD_REASON: f"{error.reason.value}: {error}",
    }
    return Review(
        subject=str(pod),
        decision=UploadResult.SKIPPED.value,
        reason=error.reason.value,
        policy=policy.key,
        merge={"metadata": {"annotations": annotations}},
        warnings=(message,),
    )
