"""Error logs that a sidecar copies: followed while the job runs, and safe before the pod may go."""

import json
import re
from typing import Any

import pytest

from sitelog.core.names import FORBIDDING_ARGUMENT, LABEL_DECISION, SIDECAR
from support.federation.stand_in_uploader import StandInUploader
from support.inputs.configurations import STREAMER
from support.kubelet.hand import pod_path
from support.kubelet.kubelet import PlayedKubelet
from support.pods.job_pods import BROKEN, LOG, received
from support.pods.sidecar_output import sidecar_output
from support.pods.sidecar_pods import SidecarPods
from support.sitelog.controllers import Controllers
from support.sitelog.installation import Installation, configmap
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for

FIRST = b"2026-01-01 10:00:00,000 - Worker - ERROR - first\nTraceback: \xff not UTF-8\n"
SECOND = b"2026-01-01 10:00:01,000 - Worker - ERROR - second\n"
WHOLE = FIRST + SECOND
OUTPUT = sidecar_output(WHOLE)
CUT_OFF = "its copying was cut off, so its last records may be missing"


@pytest.fixture
def spec(uploader: StandInUploader) -> dict[str, Any]:
    """A policy under which a sidecar copies the error log, and it goes to the stand-in."""
    return {
        "clientName": "site-1",
        "errorLog": {"upload": "Enabled", "courierSecretName": "courier", "image": uploader.image},
    }


@pytest.fixture
def pods(kubelet: PlayedKubelet, namespace: str) -> SidecarPods:
    return SidecarPods(kubelet, namespace)


@pytest.fixture
def governed(
    installation: Installation, controllers: Controllers, controller: SitelogProcess, pods: SidecarPods, spec: Any
) -> SidecarPods:
    """Pods under that policy, and a controller that runs."""
    installation.policy(pods.namespace, **spec)
    return pods


# --- whole ------------------------------------------------------------------------------------------------------------


def test_the_very_file_arrives_and_the_record_that_the_job_could_not_write(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    for name in ("code", "caught"):
        governed.begin(name, FIRST)
        governed.wait_followed(name)
        assert governed.held(name)
        governed.say(name, OUTPUT.removeprefix(FIRST))
    governed.end("code", 3)
    governed.end("caught", 0)

    log = received(uploader, "code")
    pod = governed.api.get(f"/api/v1/namespaces/{governed.namespace}/pods/code")
    finished = pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    at = finished.rstrip("Z").replace("T", " ")
    record = f"{at},000 - sitelog - CRITICAL - Pod {governed.namespace}/code: Error: the process ended with exit code 3"
    assert log == WHOLE + record.encode() + b"\n"
    assert received(uploader, "caught") == WHOLE
    for name in ("code", "caught"):
        wait_for(lambda: not governed.held(name), 60, f"{name} to be let go")  # noqa: B023 - at once


def test_where_only_the_error_log_may_leave_it_leaves_after_the_end_and_nothing_before(
    installation: Installation, governed: SidecarPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    namespace = governed.namespace
    installation.policy(namespace, **{**spec, "logStreaming": "ErrorLogOnly"})
    streaming = {"components": [{"id": "s", "path": STREAMER}]}
    stored = governed.api.create(f"/api/v1/namespaces/{namespace}/configmaps", configmap(namespace, "job", streaming))
    assert stored["metadata"]["labels"][LABEL_DECISION] == "Stripped"
    assert json.loads(stored["data"]["config_fed_client.json"]) == {"components": []}

    pod = governed.begin("quiet", OUTPUT)
    assert pod["spec"]["containers"][0]["args"][-1] == FORBIDDING_ARGUMENT
    assert governed.held("quiet")
    governed.wait_followed("quiet")
    assert uploader.stored("quiet") == []
    governed.end("quiet", 3)

    assert received(uploader, "quiet").startswith(WHOLE)
    assert governed.wait("quiet", "Uploaded").startswith("ErrorLogUploaded: ")


def test_a_policy_that_selects_by_a_label_governs_the_upload_too(
    installation: Installation, governed: SidecarPods, uploader: StandInUploader, spec: dict[str, Any]
) -> None:
    governed.begin("selected", OUTPUT)
    governed.wait_followed("selected")
    label = {"metadata": {"labels": {"example.com/study": "a"}}}
    governed.api.patch(f"/api/v1/namespaces/{governed.namespace}/pods/selected", label)
    selector = {"matchLabels": {"example.com/study": "a"}}
    installation.policy(governed.namespace, **{**spec, "selector": selector})
    governed.end("selected", 3)

    assert received(uploader, "selected").startswith(WHOLE)
    assert governed.wait("selected", "Uploaded").startswith("ErrorLogUploaded: ")


def test_a_job_without_errors_sends_nothing_and_may_go(governed: SidecarPods, uploader: StandInUploader) -> None:
    governed.begin("clean", sidecar_output(b""))
    governed.end("clean", 0)
    assert governed.wait("clean", "Skipped").startswith("NothingToUpload: ")
    wait_for(lambda: not governed.held("clean"), 60, "it to be let go")
    assert uploader.stored("clean") == []
    assert governed.jobs() == []


def test_a_pod_that_is_deleted_at_once_leaves_its_whole_error_log(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    """The launcher deletes a pod without grace; the sidecar still has the second that a kubelet gives it."""
    governed.begin("deleted", FIRST)
    governed.wait_followed("deleted")
    governed.say("deleted", OUTPUT.removeprefix(FIRST))
    governed.kubelet.delete(governed.namespace, "deleted")

    end = governed.closing("deleted", "Deleted: the pod was deleted while the job was running, exit code 137")
    assert re.fullmatch(re.escape(WHOLE) + end, received(uploader, "deleted"))
    governed.wait_gone("deleted")


def test_a_connection_that_breaks_off_leaves_no_hole_and_nothing_twice(
    governed: SidecarPods, controllers: Controllers, uploader: StandInUploader
) -> None:
    cut = controllers.proxy.cut(rf"/{governed.namespace}/pods/broken/log", after=FIRST[-9:], times=2)
    governed.begin("broken", FIRST)
    governed.wait_followed("broken", 3)
    assert cut.times == 0
    governed.say("broken", OUTPUT.removeprefix(FIRST))
    governed.end("broken", 0)
    assert received(uploader, "broken") == WHOLE


def test_a_log_is_read_once_though_its_pod_is_looked_at_again_and_again(
    governed: SidecarPods, controllers: Controllers
) -> None:
    for name in ("stays", "goes", "next"):
        governed.begin(name, OUTPUT)
        governed.wait_followed(name)
        if name == "goes":
            governed.kubelet.delete(governed.namespace, name)
            wait_for(lambda: "ErrorLogUploaded" in governed.events("goes"), 60, "its upload")
        else:
            governed.end(name, 3)
            governed.wait(name, "Uploaded")
    for name in ("stays", "goes", "next"):
        read = f"/{governed.namespace}/pods/{name}/log?"
        assert len([request for request in controllers.proxy.seen if read in request]) == 1


def test_a_sidecar_that_is_started_again_copies_from_the_beginning(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    governed.begin("restarted", FIRST)
    governed.wait_followed("restarted")
    governed.kubelet.restart(governed.namespace, "restarted", SIDECAR)
    governed.wait_followed("restarted")
    governed.say("restarted", OUTPUT)
    governed.end("restarted", 0)
    assert received(uploader, "restarted") == WHOLE


def test_of_a_long_error_log_the_end_arrives_and_says_what_is_missing(
    installation: Installation, controller: SitelogProcess, pods: SidecarPods, uploader: StandInUploader, spec: Any
) -> None:
    """One that is longer than what the sidecar copies as it comes, too."""
    spec["errorLog"]["maxBytes"] = 4096
    installation.policy(pods.namespace, **spec)
    sizes = {"long": 10_000, "huge": 6 << 20}
    for name, size in sizes.items():
        line = b"2026-01-01 10:00:00,000 - Worker - ERROR - %08d\n"
        lines = b"".join(line % number for number in range(size // len(line % 0)))
        pods.begin(name, sidecar_output(lines))
        pods.end(name, 0)
        notice, _, rest = received(uploader, name).partition(b"\n")
        assert lines.endswith(rest)
        assert 3_500 < len(rest) <= 4096 - len(notice)
        missing = len(lines) - len(rest)
        cut = f"[sitelog: the first {missing} bytes of this log were cut, see errorLog.maxBytes of the policy]"
        assert notice == cut.encode()


def test_many_at_once(governed: SidecarPods, uploader: StandInUploader) -> None:
    names = [f"many-{number}" for number in range(30)]
    logs = {name: FIRST + SECOND.replace(b"second", name.encode()) for name in names}
    for name in names:
        governed.begin(name, FIRST)
    for name in names:
        governed.wait_followed(name)
    for name in names:
        governed.say(name, sidecar_output(logs[name]).removeprefix(FIRST))
        governed.kubelet.delete(governed.namespace, name)
    for name in names:
        assert received(uploader, name).startswith(logs[name] + b"20")
        governed.wait_gone(name)


# --- not whole --------------------------------------------------------------------------------------------------------


def test_a_copy_without_its_last_line_is_partial(governed: SidecarPods, uploader: StandInUploader) -> None:
    governed.begin("cut", FIRST)
    governed.end("cut", 137, "OOMKilled")
    why = "OOMKilled: the container ran out of memory and was killed (OOMKilled, exit code 137)"
    expected = re.escape(FIRST) + governed.partial("cut", CUT_OFF) + governed.closing("cut", why)
    assert re.fullmatch(expected, received(uploader, "cut"))
    wait_for(lambda: not governed.held("cut"), 60, "it to be let go")


def test_a_copy_whose_container_its_node_has_forgotten_is_not_waited_for(
    governed: SidecarPods, controllers: Controllers, uploader: StandInUploader
) -> None:
    """A busy node evicts a pod, kills its sidecar before that has said its last word, and removes it."""
    pod = governed.begin("forgotten", FIRST)
    governed.wait_followed("forgotten")
    governed.kubelet.remove_container(governed.namespace, "forgotten", SIDECAR)
    read = f"/{governed.namespace}/pods/forgotten/log?"
    wait_for(
        lambda: sum(read in request for request in controllers.proxy.seen) > 1, 60, "its log to be asked for again"
    )
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "the node is short of memory"}
    governed.api.patch(f"{pod_path(pod)}/status", {"status": evicted})
    why = "Evicted: the pod ended as Failed (Evicted: the node is short of memory)"
    expected = re.escape(FIRST) + governed.partial("forgotten", CUT_OFF) + governed.closing("forgotten", why)
    assert re.fullmatch(expected, received(uploader, "forgotten"))


def test_a_copy_whose_beginning_the_node_has_dropped_is_partial(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    governed.begin("rotated", OUTPUT[10:])
    governed.end("rotated", 0)
    left = WHOLE.split(b"\n", 1)[1]  # from the first whole line on
    why = f"the node kept only {len(WHOLE) - 10} of the {len(WHOLE)} bytes that were copied"
    notice, _, rest = received(uploader, "rotated").partition(b"\n")
    assert notice.startswith(b"[sitelog: the first %d bytes of this log were cut" % (len(WHOLE) - len(left)))
    assert re.fullmatch(re.escape(left) + governed.partial("rotated", why), rest)


def test_a_job_whose_sidecar_does_not_run_is_read_from_its_own_output(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    governed.begin_alone("alone", LOG)
    governed.kubelet.wait_followed(governed.namespace, "alone")
    governed.end("alone", 0)
    assert received(uploader, "alone") == BROKEN


def test_a_job_of_whose_output_its_node_has_nothing_has_a_notice(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    """NVFlare's job process prints something as soon as it runs; a busy node may lose it when somebody kills that."""
    governed.begin_alone("mute")
    governed.kubelet.wait_followed(governed.namespace, "mute")
    governed.end("mute", 137)
    end = "Signalled: the process was ended by signal 9 (exit code 137)"
    expected = governed.lost("mute", "its node had an empty log of it") + governed.closing("mute", end)
    assert re.fullmatch(expected, received(uploader, "mute"))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("no-container", "unable to retrieve container logs for containerd://6d1fef8c"),
        ("no-link", 'failed to try resolving symlinks in path "/var/log/pods/job/0.log": lstat: no such file'),
        ("no-file", 'failed to open log file "/var/log/pods/job/0.log": open: no such file or directory'),
    ],
)
def test_a_job_whose_output_its_node_has_removed_has_a_notice(
    governed: SidecarPods, uploader: StandInUploader, name: str, answer: str
) -> None:
    """The kubelet says so in the place of the output, with status 200."""
    governed.begin_alone(name, answer.encode())
    governed.end(name, 137)
    end = "Signalled: the process was ended by signal 9 (exit code 137)"
    expected = governed.lost(name, "its node no longer had it") + governed.closing(name, end)
    assert re.fullmatch(expected, received(uploader, name))


def test_an_image_that_cannot_be_pulled_is_said_where_the_sidecar_waits_for_it(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    """It is the job's own, and the sidecar is the first to need it."""
    pod = governed.create("image")
    governed.kubelet.set_waiting(governed.namespace, "image", "ErrImagePull", "not found", container=SIDECAR)
    governed.kubelet.event(pod, "Failed", 'Failed to pull image "nvjob:1": not found')
    governed.kubelet.delete(governed.namespace, "image")
    governed.wait_gone("image")
    end = 'ImagePull: the image could not be pulled (Failed: Failed to pull image "nvjob:1": not found)'
    assert re.fullmatch(governed.closing("image", end), received(uploader, "image"))


def test_a_pod_that_runs_before_its_node_says_so_is_waited_for(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    """A busy kubelet starts a job, and says so later than somebody deletes the pod."""
    pod = governed.create("early")
    governed.kubelet.bind(governed.namespace, "early")
    governed.kubelet.event(pod, "FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.")
    governed.kubelet.append_log(governed.namespace, "early", SIDECAR, OUTPUT)
    governed.api.delete(pod_path(pod), {"gracePeriodSeconds": 0})  # by somebody who does not wait for the node
    governed.wait_followed("early")
    governed.kubelet.set_running(governed.namespace, "early")
    governed.kubelet.terminate(governed.namespace, "early", exit_code=137)
    end = r"Deleted: the pod was deleted while the job was running, exit code 137"
    assert re.fullmatch(re.escape(WHOLE) + governed.closing("early", end), received(uploader, "early"))
    governed.wait_gone("early")


def test_a_pod_that_runs_after_its_node_has_called_it_evicted_is_read(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    pod = governed.create("late")
    governed.kubelet.bind(governed.namespace, "late")
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "the node is short of memory"}
    governed.api.patch(f"{pod_path(pod)}/status", {"status": evicted})
    governed.kubelet.append_log(governed.namespace, "late", SIDECAR, OUTPUT)
    end = "Evicted: the pod ended as Failed (Evicted: the node is short of memory)"
    assert re.fullmatch(re.escape(WHOLE) + governed.closing("late", end), received(uploader, "late"))


def test_a_pod_that_its_node_has_ended_before_the_job_started_has_nothing_to_say(
    governed: SidecarPods, uploader: StandInUploader
) -> None:
    governed.create("unstarted")
    governed.kubelet.bind(governed.namespace, "unstarted")
    governed.kubelet.delete(governed.namespace, "unstarted")
    end = "Deleted: the pod was deleted before the job started"
    assert re.fullmatch(governed.closing("unstarted", end), received(uploader, "unstarted"))
    governed.wait_gone("unstarted")


def test_a_pod_of_which_its_node_says_nothing_has_a_notice(governed: SidecarPods, uploader: StandInUploader) -> None:
    """Somebody took the finalizer from it."""
    pod = governed.create("unknown")
    governed.kubelet.bind(governed.namespace, "unknown")
    governed.api.patch(pod_path(pod), {"metadata": {"finalizers": None}})
    governed.kubelet.delete(governed.namespace, "unknown")
    end = "Deleted: the pod was deleted before its node had said that the job runs"
    why = "the pod was gone before it could be read"
    assert re.fullmatch(governed.lost("unknown", why) + governed.closing("unknown", end), received(uploader, "unknown"))


def test_a_silent_node_gives_up_what_it_had(
    installation: Installation, controllers: Controllers, pods: SidecarPods, uploader: StandInUploader, spec: Any
) -> None:
    """Nobody waits for the minutes that a node may take to come back."""
    controllers.start_when(
        "from sitelog.controller.errorlogs import log_follower, reconciler\n"
        "reconciler._SILENT_SECONDS = 1.0\n"
        "log_follower._PATIENCE_SECONDS = 1.0\n"
    )
    try:
        installation.policy(pods.namespace, **spec)
        pod = pods.begin("silent", FIRST)
        pods.wait_followed("silent")
        pods.api.delete(pod_path(pod), {"gracePeriodSeconds": 0})  # by somebody who does not wait for the node
        log = received(uploader, "silent")
    finally:
        controllers.kill()
    end = pods.closing("silent", "NodeLost: the pod was deleted, and its node did not say that it has ended")
    assert re.fullmatch(re.escape(FIRST) + pods.partial("silent", CUT_OFF) + end, log)
    pods.wait_gone("silent")


# --- the controller is killed -----------------------------------------------------------------------------------------


def test_the_next_controller_follows_from_the_beginning(
    governed: SidecarPods, controllers: Controllers, uploader: StandInUploader
) -> None:
    governed.begin("resumed", FIRST)
    governed.wait_followed("resumed")
    controllers.kill()
    governed.say("resumed", SECOND)
    controllers.start()
    governed.wait_followed("resumed", 2)
    governed.say("resumed", OUTPUT.removeprefix(WHOLE))
    governed.end("resumed", 0)
    assert received(uploader, "resumed") == WHOLE


def test_a_pod_that_ends_while_no_controller_runs_is_read_by_the_next(
    governed: SidecarPods, controllers: Controllers, uploader: StandInUploader
) -> None:
    governed.begin("unseen", OUTPUT)
    governed.wait_followed("unseen")
    controllers.kill()
    governed.end("unseen", 3)
    controllers.start()
    end = governed.closing("unseen", "Error: the process ended with exit code 3")
    assert re.fullmatch(re.escape(WHOLE) + end, received(uploader, "unseen"))


def test_a_pod_that_is_deleted_while_no_controller_runs_is_held_until_the_next_has_said_what_is_lost(
    governed: SidecarPods, controllers: Controllers, uploader: StandInUploader
) -> None:
    governed.begin("orphan", OUTPUT)
    governed.wait_followed("orphan")
    controllers.kill()
    governed.kubelet.delete(governed.namespace, "orphan")  # its logs are gone with its containers
    assert governed.held("orphan")

    trap = controllers.proxy.trap("PATCH", f"/{governed.namespace}/pods/orphan$", "finalizers")
    controllers.start()
    trap.wait()
    secrets = [name for name in governed.secrets() if name.startswith("sitelog-upload-")]
    assert len(secrets) == 1, "safe before it is let go"
    assert governed.held("orphan")
    trap.open()

    why = "the pod was gone before it could be read"
    end = "Deleted: the pod was deleted while the job was running, exit code 137"
    expected = governed.lost("orphan", why) + governed.closing("orphan", end)
    assert re.fullmatch(expected, received(uploader, "orphan"))
    governed.wait_gone("orphan")


# --- the policy changes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clientName": "site-1", "errorLog": {"upload": "Disabled"}}, "UploadDisabled"),
        ({"clientName": "site-1", "logStreaming": "Forbidden"}, "UploadForbidden"),
        ({"clientName": "site-2", "errorLog": {"upload": "Enabled", "courierSecretName": "c"}}, "ClientNameMismatch"),
    ],
)
def test_what_is_no_longer_wanted_holds_no_pod(
    installation: Installation,
    governed: SidecarPods,
    uploader: StandInUploader,
    change: dict[str, Any],
    reason: str,
) -> None:
    governed.begin("unwanted", OUTPUT)
    governed.wait_followed("unwanted")
    installation.policy(governed.namespace, **change)
    governed.kubelet.delete(governed.namespace, "unwanted")
    governed.wait_gone("unwanted")
    assert reason in governed.events("unwanted")
    assert uploader.stored("unwanted") == []
    assert governed.jobs() == governed.secrets() == []


def test_where_no_policy_governs_any_more_a_pod_is_let_go_at_once(
    installation: Installation, governed: SidecarPods
) -> None:
    governed.begin("ungoverned", OUTPUT)
    governed.wait_followed("ungoverned")
    installation.control_plane.kubectl("delete", "slp", "site", f"--namespace={governed.namespace}")
    wait_for(lambda: not governed.held("ungoverned"), 60, "it to be let go")
    assert governed.jobs() == []
