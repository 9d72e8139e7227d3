"""The site's parent process obeys the policy: its own SiteLogStreamer neither injects nor uploads against it."""

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ProcessType
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.app_common.logging import site_log_streamer
from nvflare.app_common.logging.site_log_streamer import SiteLogStreamer

from sitelog.core.policy.policy import LogStreaming
from sitelog.gate import job_policies
from sitelog.gate.job_policies import JobPolicies
from sitelog.gate.publisher import PolicyUnavailableError, Publisher
from support.control_plane.control_plane import ControlPlane
from support.federation.gate_site import CLIENT, CONFIGURATION, JSON, GatedSite, annotate, published
from support.sitelog import gate_stand_in as where
from support.wait import wait_for

Sites = Callable[..., GatedSite]
ALLOWED, ERROR_LOG_ONLY, FORBIDDEN = LogStreaming
WITHOUT_STREAMER = json.dumps({"format_version": 2, "executors": [], "components": []})


def silent(*_: str) -> LogStreaming | None:
    raise PolicyUnavailableError("nobody answers")


# --- what several answers make together ------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_closed", [True, False], ids=["Fail", "Ignore"])
@pytest.mark.parametrize(
    ("at_deployment", "now", "allowed"),
    [
        (ALLOWED, ALLOWED, True),
        (ALLOWED, FORBIDDEN, False),
        (ALLOWED, ERROR_LOG_ONLY, False),
        (ERROR_LOG_ONLY, ERROR_LOG_ONLY, False),
        (ERROR_LOG_ONLY, ALLOWED, True),
        (ERROR_LOG_ONLY, None, False),
        (ALLOWED, None, True),
        (FORBIDDEN, FORBIDDEN, False),
        (FORBIDDEN, ALLOWED, True),
        (FORBIDDEN, None, False),
        (None, FORBIDDEN, False),
        (None, ALLOWED, True),
        (None, None, True),
    ],
)
def test_what_the_cluster_says_now_counts(
    at_deployment: LogStreaming | None, now: LogStreaming | None, *, allowed: bool, fail_closed: bool
) -> None:
    policies = JobPolicies(lambda *_: now, fail_closed=fail_closed)
    policies.remember("job", at_deployment)
    assert policies.allow("job", CLIENT) is allowed


@pytest.mark.parametrize("fail_closed", [True, False], ids=["Fail", "Ignore"])
@pytest.mark.parametrize(
    ("at_deployment", "allowed"), [(ALLOWED, True), (ERROR_LOG_ONLY, False), (FORBIDDEN, False), (None, True)]
)
def test_while_the_cluster_is_silent_the_deployments_word_holds(
    at_deployment: LogStreaming | None, *, allowed: bool, fail_closed: bool
) -> None:
    policies = JobPolicies(silent, fail_closed=fail_closed)
    policies.remember("job", at_deployment)
    assert policies.allow("job", CLIENT) is allowed


def test_without_any_word_the_failure_policy_decides() -> None:
    assert JobPolicies(silent, fail_closed=True).allow("job", CLIENT) is False
    assert JobPolicies(silent, fail_closed=False).allow("job", CLIENT) is True


def test_a_word_heard_once_holds_through_a_later_silence() -> None:
    answers: Iterator[LogStreaming] = iter([FORBIDDEN])

    def ask(*_: str) -> LogStreaming:
        for answer in answers:
            return answer
        raise PolicyUnavailableError("nobody answers")

    policies = JobPolicies(ask, fail_closed=False)
    policies.remember("job", ALLOWED)
    assert [policies.allow("job", CLIENT), policies.allow("job", CLIENT)] == [False, False]


# --- NVFlare's own SiteLogStreamer, and a real API server ------------------------------------------------------------


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Job ids whose error log the parent would upload, in place of the FL server."""
    sent: list[str] = []

    def stream_log(*, stream_ctx: dict[str, str], **_: object) -> None:
        sent.append(stream_ctx["job_id"])

    monkeypatch.setattr(site_log_streamer.LogStreamer, "stream_log", stream_log)
    return sent


@pytest.fixture
def obeying(monkeypatch: pytest.MonkeyPatch) -> Callable[[JobPolicies], None]:
    """Install policies for this test only."""
    monkeypatch.setattr(site_log_streamer, "is_log_streaming_allowed", site_log_streamer.is_log_streaming_allowed)
    return job_policies.install


def fire(here: GatedSite, event: str, job_id: str) -> None:
    """Fire an event at a SiteLogStreamer as the client's engine does."""
    stickers = {
        FLContextKey.WORKSPACE_ROOT: here.workspace.root_dir,
        FLContextKey.PROCESS_TYPE: ProcessType.CLIENT_PARENT,
    }
    context: FLContext = FLContextManager(identity_name=CLIENT, private_stickers=stickers).new_context()
    context.set_prop(FLContextKey.JOB_META, {"job_id": job_id}, private=True, sticky=False)
    if event == EventType.JOB_COMPLETED:
        context.set_prop(FLContextKey.CURRENT_JOB_ID, job_id, private=True, sticky=False)
    streamer = SiteLogStreamer(log_file_name="error_log.txt")
    for handler, keywords in streamer.get_event_handlers()[event]:
        handler(event, context, **keywords)


def fail_a_job(here: GatedSite, job_id: str, configuration: str = WITHOUT_STREAMER) -> None:
    """Deploy a job, and leave an error log behind."""
    assert here.deploy(job_id, {JSON: configuration}) is None
    (here.run_folder(job_id) / "error_log.txt").write_text("ERROR - it broke\n")


def test_an_allowed_job_is_treated_as_the_sites_file_says(
    site: Sites, obeying: Callable[[JobPolicies], None], uploads: list[str]
) -> None:
    here = site(where.ALLOWED)
    obeying(here.policies)
    fail_a_job(here, "job-a")

    fire(here, EventType.BEFORE_JOB_LAUNCH, "job-a")
    fire(here, EventType.JOB_COMPLETED, "job-a")

    assert "auto_log_streamer" in here.file("job-a").read_text()
    wait_for(lambda: uploads == ["job-a"], 60, "the upload")


def test_a_forbidden_job_gets_no_streamer_and_no_upload(
    site: Sites, obeying: Callable[[JobPolicies], None], uploads: list[str]
) -> None:
    here = site(where.FORBIDDEN)
    obeying(here.policies)
    fail_a_job(here, "job-f", CONFIGURATION)

    fire(here, EventType.BEFORE_JOB_LAUNCH, "job-f")
    fire(here, EventType.JOB_COMPLETED, "job-f")

    assert here.file("job-f").read_text() == where.STRIPPED
    then_upload_a_marker(here, uploads)


def then_upload_a_marker(here: GatedSite, uploads: list[str]) -> None:
    """An upload is a thread of its own: let one of an allowed job come after, and see that it came alone."""
    here.policies.remember("marker", ALLOWED)
    (here.run_folder("marker")).mkdir()
    (here.run_folder("marker") / "error_log.txt").write_text("ERROR - marker\n")
    fire(here, EventType.JOB_COMPLETED, "marker")
    wait_for(lambda: "marker" in uploads, 60, "the marker's upload")
    assert uploads == ["marker"]


@pytest.mark.parametrize("turned", [ERROR_LOG_ONLY, FORBIDDEN])
def test_a_policy_turned_while_the_job_runs_counts_at_its_end(
    site: Sites,
    obeying: Callable[[JobPolicies], None],
    uploads: list[str],
    control_plane: ControlPlane,
    turned: LogStreaming,
) -> None:
    here = site(where.UNGOVERNED)
    obeying(here.policies)
    job = f"job-turned-{turned.value}"
    fail_a_job(here, job)
    (configmap,) = [
        item
        for item in published(control_plane, where.UNGOVERNED)
        if item["metadata"]["annotations"]["sitelog.dev/job-id"] == job
    ]

    annotate(control_plane, configmap, turned)
    fire(here, EventType.JOB_COMPLETED, job)

    then_upload_a_marker(here, uploads)
    assert here.policies.of(job) is turned


def test_a_parent_that_has_restarted_finds_the_word_in_the_cluster(
    site: Sites, obeying: Callable[[JobPolicies], None], uploads: list[str]
) -> None:
    before = site(where.FORBIDDEN, fail_closed=False)
    fail_a_job(before, "job-before")

    after = site(where.FORBIDDEN, fail_closed=False)
    obeying(after.policies)
    fire(after, EventType.JOB_COMPLETED, "job-before")

    then_upload_a_marker(after, uploads)


def test_what_the_job_leaves_in_its_run_folder_changes_nothing(
    site: Sites, obeying: Callable[[JobPolicies], None], uploads: list[str]
) -> None:
    here = site(where.FORBIDDEN, fail_closed=False)
    obeying(here.policies)
    fail_a_job(here, "job-sly")
    for file in here.run_folder("job-sly").iterdir():
        if file.name.endswith(".json"):
            file.write_text('{"log_streaming": "Allowed", "allow_log_streaming": true}')

    fire(here, EventType.JOB_COMPLETED, "job-sly")

    then_upload_a_marker(here, uploads)


def test_a_site_whose_own_file_forbids_is_not_even_asked_about(
    site: Sites, obeying: Callable[[JobPolicies], None], uploads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    here = site(where.ALLOWED)
    fail_a_job(here, "job-own")
    (Path(here.workspace.root_dir) / "local" / "resources.json").write_text('{"allow_log_streaming": false}')
    asked: list[str] = []

    def ask(job_id: str, _: str) -> LogStreaming:
        asked.append(job_id)
        return ALLOWED

    obeying(JobPolicies(ask, fail_closed=True))
    fire(here, EventType.BEFORE_JOB_LAUNCH, "job-own")
    fire(here, EventType.JOB_COMPLETED, "job-own")

    assert "auto_log_streamer" not in here.file("job-own").read_text()
    assert (asked, uploads) == ([], [])


def test_an_api_that_has_gone_leaves_the_deployments_word(
    site: Sites,
    obeying: Callable[[JobPolicies], None],
    uploads: list[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    here = site(where.FORBIDDEN, fail_closed=False)
    fail_a_job(here, "job-gone")
    gone = replace(here.settings, kubeconfig=str(tmp_path / "gone.kubeconfig"))
    policies = JobPolicies(Publisher(gone).log_streaming, fail_closed=False)
    policies.remember("job-gone", here.policies.of("job-gone"))
    here.policies = policies
    obeying(policies)

    fire(here, EventType.JOB_COMPLETED, "job-gone")

    assert "job job-gone: the log policy cannot be asked again" in caplog.text
    then_upload_a_marker(here, uploads)


def test_a_question_ends_by_itself(site: Sites, tmp_path: Path, control_plane: ControlPlane) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        address = f"https://127.0.0.1:{silent_server.getsockname()[1]}"
        text = control_plane.kubeconfig.read_text().replace(control_plane.url, address)
        (tmp_path / "silent.kubeconfig").write_text(text)
        here = site(where.ALLOWED, kubeconfig=tmp_path / "silent.kubeconfig")
        with pytest.raises(PolicyUnavailableError):
            Publisher(here.settings).log_streaming("job", CLIENT)


def test_a_job_that_was_never_published_is_unknown(site: Sites) -> None:
    with pytest.raises(PolicyUnavailableError, match="not found"):
        Publisher(site(where.ALLOWED).settings).log_streaming("job-never", CLIENT)
