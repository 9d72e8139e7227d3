"""Every seam of NVFlare that the uploader relies on: a release that moves one fails here, by its name."""

import inspect
from collections.abc import Callable

import pytest
from nvflare.apis.fl_constant import AdminCommandNames, ReservedKey, StreamCtxKey, WorkspaceConstants
from nvflare.apis.storage import DataTypes
from nvflare.apis.streaming import StreamableEngine
from nvflare.app_common.logging import job_log_receiver, site_log_streamer
from nvflare.app_common.logging.constants import LIVE_LOG_TOPIC, Channels
from nvflare.app_common.streamers.log_streamer import LogStreamer
from nvflare.fuel.f3.drivers import net_utils
from nvflare.fuel.f3.sfm import conn_manager
from nvflare.fuel.hci.client.api import AdminAPI
from nvflare.fuel.hci.client.api_spec import AdminConfigKey
from nvflare.fuel.hci.cmd_arg_utils import join_args
from nvflare.fuel.hci.proto import MetaKey, MetaStatusValue
from nvflare.private.fed.server.job_cmds import JobCommandModule

from sitelog.uploader import courier, delivery_attempt


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (AdminAPI.__init__, {"user_name", "admin_config", "cmd_modules"}),
        (AdminAPI.connect, {"timeout"}),
        (AdminAPI.set_command_timeout, {"timeout"}),
        (AdminAPI.login, set()),
        (AdminAPI.logout, set()),
        (AdminAPI.close, set()),
        (AdminAPI.new_context, set()),
        (AdminAPI.server_execute, {"command"}),
        (AdminAPI.download_file, {"source_fqcn", "ref_id", "file_name"}),
        (
            LogStreamer.stream_log,
            {"channel", "topic", "stream_ctx", "targets", "file_name", "fl_ctx", "stop_event", "poll_interval"}
            | {"chunk_size", "chunk_timeout"},
        ),
    ],
    ids=lambda value: value.__qualname__ if callable(value) else "",
)
def test_functions_take_what_we_give(function: Callable[..., object], arguments: set[str]) -> None:
    missing = arguments - set(inspect.signature(function).parameters)
    assert not missing, f"NVFlare's {function.__qualname__} no longer takes {sorted(missing)}"


@pytest.mark.parametrize(
    ("holder", "names"),
    [
        (
            AdminConfigKey,
            (
                "PROJECT_NAME SERVER_IDENTITY CONNECTION_SCHEME CONNECTION_SECURITY HOST PORT CA_CERT"
                " CLIENT_CERT CLIENT_KEY"
            ),
        ),
        (AdminCommandNames, "LIST_JOB DOWNLOAD_JOB_COMPONENTS"),
        (MetaKey, "STATUS JOB_COMPONENTS FILES SOURCE_FQCN"),
        (MetaStatusValue, "INVALID_JOB_ID NOT_AUTHORIZED"),
        (StreamCtxKey, "CLIENT_NAME JOB_ID"),
        (ReservedKey, "RUN_NUM IDENTITY_NAME"),
    ],
    ids=lambda value: value.__name__ if inspect.isclass(value) else "",
)
def test_constants_are_there(holder: type, names: str) -> None:
    missing = [name for name in names.split() if not hasattr(holder, name)]
    assert not missing, f"NVFlare's {holder.__name__} no longer has {missing}"


def test_the_admin_client_can_stream() -> None:
    assert issubclass(AdminAPI, StreamableEngine)


def test_log_is_stored_by_the_name_we_look_for() -> None:
    assert delivery_attempt.LOG_NAME == WorkspaceConstants.ERROR_LOG_FILE_NAME
    assert job_log_receiver.JobLogReceiver._storage_data_type(delivery_attempt.LOG_NAME) == DataTypes.ERRORLOG.value
    assert f"{DataTypes.ERRORLOG.value}_" == courier.STORED_PREFIX


def test_we_stream_as_the_site_log_streamer_does() -> None:
    theirs = inspect.getsource(site_log_streamer.SiteLogStreamer._stream_completed_log)
    theirs += inspect.getsource(site_log_streamer.SiteLogStreamer._on_job_completed)
    ours = inspect.getsource(courier.Courier.send)
    for words in (
        "channel=Channels.LOG_STREAMING_CHANNEL",
        "topic=LIVE_LOG_TOPIC",
        'targets=["server"]',
        "StreamCtxKey.CLIENT_NAME: client_name",
        "StreamCtxKey.JOB_ID: job_id",
        "key=ReservedKey.RUN_NUM, value=job_id, private=False, sticky=True",
        "key=ReservedKey.IDENTITY_NAME, value=client_name, private=False, sticky=False",
    ):
        assert words in theirs, f"NVFlare's SiteLogStreamer no longer says {words}"
        assert words in ours
    assert (Channels.LOG_STREAMING_CHANNEL, LIVE_LOG_TOPIC) == ("log_streaming", "live_log")


def test_a_name_of_its_own_for_each_connection() -> None:
    assert "new_admin_client_name()" in inspect.getsource(AdminAPI.connect)


def test_admin_clients_need_an_admin_port() -> None:
    """Why a kit's port may have to be replaced by `--server`."""
    assert "can only connect through an admin listener" in inspect.getsource(conn_manager)


def test_commands_are_quoted() -> None:
    assert join_args(["list_job", "two words"]) == 'list_job "two words"'


def test_offered_files_are_pairs_of_name_and_reference() -> None:
    source = inspect.getsource(JobCommandModule)
    assert "JOB_COMPONENTS: filtered_data" in source
    assert "ERRORLOG_site-1" in inspect.getsource(JobCommandModule.download_job_components)


def test_probe_speaks_the_tls_that_nvflare_speaks() -> None:
    source = inspect.getsource(net_utils.get_ssl_context)
    assert "ctx.check_hostname = False" in source
    assert "ctx.load_verify_locations(ca_path)" in source
