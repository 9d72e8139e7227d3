"""The policy for each job, obeyed by the SiteLogStreamer in the client's parent process.

Provisioned sites have NVFlare's SiteLogStreamer in their resources.json. It runs in the parent: before a job's launch
it injects a JobLogStreamer into the deployed configuration, and when the job has ended it uploads the error log. Both
happen only where the policy says Allowed: under ErrorLogOnly the error log is Sitelog's to send. Nothing on the job's
pod stops that, and its only switch, `allow_log_streaming`, is read once and holds for every job.

So its module's `is_log_streaming_allowed` is replaced by one that also asks the cluster, at the moment of use: the
controller updates a job's ConfigMap when a policy changes, which may happen while the job runs. Nothing is kept on
disk: what lies in the run folder is the job's to overwrite, and the ConfigMap's name follows from the job and the
client, so a restarted parent finds it again.

- The site's own file says no: no, without a question.
- The cluster names the policy's log streaming: that decides.
- No policy governs the job (now), or the cluster does not answer: what was known when the job was deployed decides.
- Nothing is known (an outage, or a job without a client configuration): with failure policy Fail no, with Ignore the
  site's own file decides.
"""

import logging
from collections.abc import Callable

from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import JobMetaKey
from nvflare.app_common.logging import site_log_streamer

from sitelog.core.policy.policy import LogStreaming

from . import LOGGER
from .publisher import PolicyUnavailableError

logger = logging.getLogger(LOGGER)


class JobPolicies:
    """What the policy said about each job that this process deployed.

    Parameters
    ----------
    ask
        Returns what the cluster says now about a job id and a client name; raises `PolicyUnavailableError`.
    fail_closed
        Whether nothing known means Forbidden.
    """

    def __init__(self, ask: Callable[[str, str], LogStreaming | None], *, fail_closed: bool) -> None:
        self._ask = ask
        self._fail_closed = fail_closed
        self._known: dict[str, LogStreaming | None] = {}

    def remember(self, job_id: str, log_streaming: LogStreaming | None) -> None:
        """Keep what the cluster said when a job was deployed."""
        self._known[job_id] = log_streaming

    def of(self, job_id: str) -> LogStreaming | None:
        """Return what is known about a job, None where no policy governed it or nothing was heard."""
        return self._known.get(job_id)

    def allow(self, job_id: str, client_name: str) -> bool:
        """Whether the parent may stream this job's log."""
        try:
            log_streaming = self._ask(job_id, client_name)
        except PolicyUnavailableError as error:
            logger.warning("job %s: the log policy cannot be asked again (%s)", job_id, error)
            return self._remembered(job_id)
        if log_streaming is None:
            return self._deployed(job_id)
        self.remember(job_id, log_streaming)
        return not log_streaming.prohibits_streamer

    def _remembered(self, job_id: str) -> bool:
        return self._deployed(job_id) if job_id in self._known else not self._fail_closed

    def _deployed(self, job_id: str) -> bool:
        log_streaming = self.of(job_id)
        return log_streaming is None or not log_streaming.prohibits_streamer


def install(policies: JobPolicies) -> None:
    """Make NVFlare's SiteLogStreamer in this process ask `policies` too."""
    site_allows = site_log_streamer.is_log_streaming_allowed

    def is_log_streaming_allowed(fl_ctx: FLContext | None = None) -> bool:
        if not site_allows(fl_ctx):
            return False
        job_id = _job_id(fl_ctx) if fl_ctx else None
        if not fl_ctx or not job_id:
            return True  # not about a job: SiteLogStreamer does nothing then
        allowed = policies.allow(job_id, fl_ctx.get_identity_name())
        if not allowed:
            logger.info("job %s: this process sends nothing of its logs, as the log policy forbids it", job_id)
        return allowed

    site_log_streamer.is_log_streaming_allowed = is_log_streaming_allowed


def _job_id(fl_ctx: FLContext) -> str | None:
    """Return the job that an event is about: before its launch from the job's meta, after its end from the context."""
    meta = fl_ctx.get_prop(FLContextKey.JOB_META) or {}
    return fl_ctx.get_prop(FLContextKey.CURRENT_JOB_ID) or fl_ctx.get_job_id() or meta.get(JobMetaKey.JOB_ID)
