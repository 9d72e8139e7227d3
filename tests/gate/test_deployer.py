"""A job's configuration goes to the API server and comes back as the policy left it. Real API server, real deployer."""

import argparse
import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext

from sitelog.core import labels, names
from sitelog.core.policy.policy import LogStreaming
from sitelog.gate.deployer import replace_content
from support.control_plane.control_plane import ControlPlane
from support.federation.gate_site import CLIENT, CONFIGURATION, JSON, GatedSite, published
from support.sitelog import gate_stand_in as where

Sites = Callable[..., GatedSite]


def only(control_plane: ControlPlane, namespace: str, job_id: str) -> dict:
    return next(
        item
        for item in published(control_plane, namespace)
        if item["metadata"]["annotations"][names.ANNOTATION_JOB_ID] == job_id
    )


def test_the_job_runs_with_what_the_policy_left(site: Sites) -> None:
    here = site(where.FORBIDDEN)

    assert here.deploy("job-strip", {JSON: CONFIGURATION, "custom/net.py": "x = 1\n"}) is None

    assert here.file("job-strip").read_text() == where.STRIPPED
    assert here.file("job-strip", "custom/net.py").read_text() == "x = 1\n"
    assert [file.name for file in here.file("job-strip").parent.iterdir()] == ["config_fed_client.json"]


def test_the_configmap_says_whose_it_is(site: Sites, control_plane: ControlPlane) -> None:
    here = site(where.ALLOWED)

    assert here.deploy("Job_1.a", {JSON: CONFIGURATION}) is None

    configmap = only(control_plane, where.ALLOWED, "Job_1.a")
    metadata = configmap["metadata"]
    assert metadata["name"] == labels.object_name("sitelog-", "Job_1.a", CLIENT)
    assert metadata["labels"] == {
        "sitelog.dev/job": "Job_1.a",
        "sitelog.dev/client": CLIENT,
        "sitelog.dev/published-by": "gate",
        "sitelog.dev/managed": "true",
        "sitelog.dev/decision": "Declared",
    }
    assert metadata["annotations"]["sitelog.dev/job-id"] == "Job_1.a"
    assert metadata["annotations"]["sitelog.dev/client-name"] == CLIENT
    assert configmap["data"] == {"config_fed_client.json": CONFIGURATION}


def test_an_unchanged_file_is_not_touched(site: Sites, tmp_path: Path) -> None:
    file = tmp_path / "config_fed_client.json"
    file.write_text(CONFIGURATION)
    before = file.stat()

    assert site(where.ALLOWED).gate.check("job-same", CLIENT, file) == ""

    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "content",
    [
        CONFIGURATION.replace("\n", "\r\n"),
        "\ufeff{}",
        "not a configuration at all \x00\x01",
        '{"a": NaN, "a": 1, "ä": "\\ud800", "x":1.0}   \n\n',
        "",
        "[" * 100_000,
    ],
    ids=["crlf", "byte-order-mark", "not-json", "odd-json", "empty", "deep"],
)
def test_bytes_in_are_bytes_out(site: Sites, content: str) -> None:
    here = site(where.UNGOVERNED)
    job_id = f"job-bytes-{labels.short_hash(content)}"

    assert here.deploy(job_id, {JSON: content}) is None

    assert here.file(job_id).read_bytes() == content.encode()


def test_what_is_no_text_goes_as_binary_data(site: Sites, control_plane: ControlPlane) -> None:
    here = site(where.UNGOVERNED)
    content = b"\xff\xfe{\x00}\x00"

    assert here.deploy("job-utf16", {JSON: content}) is None

    assert here.file("job-utf16").read_bytes() == content
    configmap = only(control_plane, where.UNGOVERNED, "job-utf16")
    assert configmap["binaryData"] == {"config_fed_client.json": base64.b64encode(content).decode()}


def test_a_configuration_of_a_whole_mebibyte_is_published(site: Sites) -> None:
    here = site(where.UNGOVERNED)
    content = '"' + "x" * (1024 * 1024 - 2) + '"'

    assert here.deploy("job-large", {JSON: content}) is None

    assert here.file("job-large").read_text() == content


def test_a_second_deployment_of_a_job_replaces_the_first(site: Sites, control_plane: ControlPlane) -> None:
    here = site(where.ALLOWED)
    assert here.deploy("job-again", {JSON: CONFIGURATION}) is None

    assert here.deploy("job-again", {JSON: '{"format_version": 3}'}) is None

    configmap = only(control_plane, where.ALLOWED, "job-again")
    assert configmap["data"] == {"config_fed_client.json": '{"format_version": 3}'}
    assert configmap["metadata"]["labels"]["sitelog.dev/decision"] == "Declared"


@pytest.mark.parametrize(
    ("log_streaming", "namespace"),
    [(LogStreaming.ALLOWED, where.ALLOWED), (LogStreaming.FORBIDDEN, where.FORBIDDEN), (None, where.UNGOVERNED)],
)
def test_what_the_policy_says_is_remembered(site: Sites, log_streaming: LogStreaming | None, namespace: str) -> None:
    here = site(namespace)
    assert here.deploy("job-known", {JSON: CONFIGURATION}) is None
    assert here.policies.of("job-known") is log_streaming


@pytest.mark.parametrize("fail_closed", [True, False], ids=["Fail", "Ignore"])
def test_a_refusal_fails_the_deployment_whatever_the_failure_policy(site: Sites, *, fail_closed: bool) -> None:
    here = site(where.REFUSED, fail_closed=fail_closed)

    error = here.deploy("job-refused", {JSON: CONFIGURATION})

    assert error is not None
    assert error.startswith("Sitelog: refused by the site's log policy: ")
    assert where.REFUSAL in error
    assert not here.run_folder("job-refused").exists()


@pytest.mark.parametrize("fail_closed", [True, False], ids=["Fail", "Ignore"])
@pytest.mark.parametrize("namespace", [where.EXTRA, where.RENAMED])
def test_an_answer_about_something_else_fails_the_deployment(site: Sites, namespace: str, *, fail_closed: bool) -> None:
    here = site(namespace, fail_closed=fail_closed)

    error = here.deploy("job-keys", {JSON: CONFIGURATION})

    assert error is not None
    assert "instead of config_fed_client.json alone: look for another admission webhook" in error
    assert not here.run_folder("job-keys").exists()


def test_an_app_without_a_client_configuration_passes(site: Sites, control_plane: ControlPlane) -> None:
    here = site(where.REFUSED)

    assert here.deploy("job-server-only", {"config/config_fed_server.json": "{}"}) is None

    assert published(control_plane, where.REFUSED) == []


def test_what_nvflare_refuses_is_not_published(site: Sites, control_plane: ControlPlane) -> None:
    here = site(where.ALLOWED)

    error = here.deploy("job-forged", {JSON: CONFIGURATION, ".__nvfl_sig.json": "{}"})

    assert error == "app app does not pass signature verification"
    assert "job-forged" not in json.dumps(published(control_plane, where.ALLOWED))


# --- which file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "loaded"),
    [
        (["config/config_fed_client.conf"], "config/config_fed_client.conf"),
        (["config/config_fed_client.yml"], "config/config_fed_client.yml"),
        (["config/config_fed_client.yaml"], "config/config_fed_client.yaml"),
        (["config/config_fed_client.json.default"], "config/config_fed_client.json.default"),
        (["config/config_fed_client.yaml", "config/config_fed_client.conf"], "config/config_fed_client.conf"),
        (["config/config_fed_client.conf", "config/config_fed_client.json"], JSON),
        (["config/deep/er/config_fed_client.json"], "config/deep/er/config_fed_client.json"),
        (["config/config_fed_client.conf", "config/deep/config_fed_client.json"], "config/deep/config_fed_client.json"),
        (["config/config_fed_client.json", "config/deep/config_fed_client.json"], JSON),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_the_file_that_the_job_will_load_is_the_one(site: Sites, files: list[str], loaded: str) -> None:
    here = site(where.FORBIDDEN)

    assert here.deploy("job-file", dict.fromkeys(files, CONFIGURATION)) is None

    assert here.file("job-file", loaded).read_text() == where.STRIPPED
    for other in set(files) - {loaded}:
        assert here.file("job-file", other).read_text() == CONFIGURATION


def test_two_equal_names_in_subfolders_are_refused(site: Sites) -> None:
    here = site(where.ALLOWED)

    error = here.deploy("job-two", {"config/a/config_fed_client.json": "{}", "config/b/config_fed_client.json": "{}"})

    assert error is not None
    assert "a/config_fed_client.json and b/config_fed_client.json" in error
    assert "keep one of them, in config/" in error


def test_the_clients_own_configuration_folder_counts(site: Sites) -> None:
    here = site(where.FORBIDDEN)
    context = FLContext()
    context.set_prop(FLContextKey.ARGS, argparse.Namespace(client_config="settings/config_fed_client.json"))

    assert here.deploy("job-folder", {"settings/config_fed_client.json": CONFIGURATION}, context) is None

    assert here.file("job-folder", "settings/config_fed_client.json").read_text() == where.STRIPPED


# --- on disk and in the log ------------------------------------------------------------------------------------------


def test_a_file_is_replaced_in_one_step_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "config_fed_client.json"
    file.write_text("old")
    file.chmod(0o640)
    with file.open() as reader:
        replace_content(file, b"new and longer")
        assert reader.read() == "old"
    assert file.read_bytes() == b"new and longer"
    assert file.stat().st_mode & 0o7777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_written_is_left_whole(tmp_path: Path) -> None:
    folder = tmp_path / "config_fed_client.json"
    folder.mkdir()
    with pytest.raises(OSError, match=r"config_fed_client\.json"):
        replace_content(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]


def test_one_line_says_what_became_of_the_job_and_none_its_content(
    site: Sites, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="sitelog")
    site(where.FORBIDDEN).deploy("job-log", {JSON: CONFIGURATION})

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("sitelog")]

    assert lines == [f"job job-log at {CLIENT}: Stripped, reason StreamerStripped, policy stand-in/hospital"]
