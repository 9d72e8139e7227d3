"""The connection to the FL server: NVFlare's own admin client, under the courier's name."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nvflare.apis.fl_constant import AdminCommandNames, ReservedKey, ReturnCode, StreamCtxKey
from nvflare.app_common.logging.constants import LIVE_LOG_TOPIC, Channels
from nvflare.app_common.streamers.log_streamer import LogStreamer
from nvflare.fuel.hci.client.api import AdminAPI, ResultKey
from nvflare.fuel.hci.client.api_spec import AdminConfigKey
from nvflare.fuel.hci.client.api_status import APIStatus
from nvflare.fuel.hci.cmd_arg_utils import join_args
from nvflare.fuel.hci.proto import MetaKey, MetaStatusValue

from sitelog.core.names import Reason

from .failure import Failure
from .kit import Kit
from .probe import probe

STORED_PREFIX = "ERRORLOG_"  # NVFlare's DataTypes.ERRORLOG and the client's name: how the server stores it

_CONNECT_TIMEOUT = 10.0
_COMMAND_TIMEOUT = 10.0
_ALERT_TIMEOUT = 2.0
_CLOSE_TIMEOUT = 3.0
_CHUNK = 1 << 20  # four times as fast as NVFlare's 64 KiB
_CHUNK_TIMEOUT = 30.0  # one chunk over a slow uplink
_POLL = 0.1  # once, at the end of the file


class Courier:
    """One connection, closed by `with`. Every call may raise `Failure`.

    It connects as an admin client, which has a connection name of its own each time: a regular client's would be
    the participant's name, and NVFlare lets a name connect once.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._api = AdminAPI(user_name=kit.participant, admin_config=_admin_config(kit), cmd_modules=[])
        self._logged_in = False

    def __enter__(self) -> Self:
        try:
            self._api.connect(_CONNECT_TIMEOUT)
        except Exception as error:  # NVFlare has no class of its own for most of what may go wrong here
            self._close()
            raise self._not_connected(error) from error
        self._api.set_command_timeout(_COMMAND_TIMEOUT)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._logged_in and value is None:  # otherwise the server may be gone, and its session ends by itself
            self._api.logout()
        self._close()

    def log_in(self) -> bool:
        """Log in, where the kit's certificate has a role, to look at what is stored; False where it may not."""
        if self._kit.role:
            self._logged_in = self._api.login().get(ResultKey.STATUS) == APIStatus.SUCCESS
        return self._logged_in

    def fetch(self, job_id: str, client_name: str, to: Path) -> bool | None:
        """Fetch the stored error log of a job and client into a file.

        Returns
        -------
        bool or None
            Whether there is one; None where the kit may not look.
        """
        components = self._ask(AdminCommandNames.LIST_JOB, job_id)
        name = STORED_PREFIX + client_name
        if components is None or name not in (components.get(MetaKey.JOB_COMPONENTS) or []):
            return None if components is None else False
        offered = self._ask(AdminCommandNames.DOWNLOAD_JOB_COMPONENTS, job_id)
        if offered is None:
            return None
        # Only the one file, where NVFlare's own command takes all of the job's, other sites' logs included.
        reference = dict(offered.get(MetaKey.FILES) or []).get(name)
        if reference is None or self._api.download_file(offered[MetaKey.SOURCE_FQCN], reference, str(to)) is None:
            raise Failure(Reason.SERVER_UNREACHABLE, f"{self._kit.target} did not hand out {name} of job {job_id}")
        return True

    def send(self, log: Path, job_id: str, client_name: str) -> None:
        """Stream a file to the server's parent process, as NVFlare's SiteLogStreamer does for a completed job."""
        whole = threading.Event()
        whole.set()  # the file does not grow any more
        with self._api.new_context() as context:
            context.put(key=ReservedKey.RUN_NUM, value=job_id, private=False, sticky=True)
            context.put(key=ReservedKey.IDENTITY_NAME, value=client_name, private=False, sticky=False)
            code, _ = LogStreamer.stream_log(
                channel=Channels.LOG_STREAMING_CHANNEL,
                topic=LIVE_LOG_TOPIC,
                stream_ctx={StreamCtxKey.CLIENT_NAME: client_name, StreamCtxKey.JOB_ID: job_id},
                targets=["server"],
                file_name=str(log),
                fl_ctx=context,
                stop_event=whole,
                poll_interval=_POLL,
                chunk_size=_CHUNK,
                chunk_timeout=_CHUNK_TIMEOUT,
            )
        if code != ReturnCode.OK:
            probe(self._kit)  # the server went away, or else:
            raise Failure(
                Reason.NO_RECEIVER,
                f"{self._kit.target} took no log ({code}): it needs a JobLogReceiver among the components of its "
                "resources.json; where it has one, the server's own log says what went wrong",
            )

    def _ask(self, command: str, job_id: str) -> dict[str, Any] | None:
        """Give the meta of the answer to a command about a job; None where the kit's role may not ask."""
        answer = self._api.server_execute(join_args([command, job_id]))
        meta: dict[str, Any] = answer.get(ResultKey.META) or {}
        status = meta.get(MetaKey.STATUS)
        if status == MetaStatusValue.INVALID_JOB_ID:
            raise Failure(
                Reason.NOT_STORED,
                f"{self._kit.target} has no job {job_id}: it was deleted there, or belongs to another server",
                final=True,
            )
        if status == MetaStatusValue.NOT_AUTHORIZED or answer.get(ResultKey.STATUS) == APIStatus.ERROR_AUTHORIZATION:
            return None
        if answer.get(ResultKey.STATUS) != APIStatus.SUCCESS:
            raise Failure(Reason.SERVER_UNREACHABLE, f"{self._kit.target} did not answer {command} of job {job_id}")
        return meta

    def _close(self) -> None:
        """Close the connection. Of one that did not come about NVFlare would wait for the server's side: for ever."""
        closing = threading.Thread(target=self._api.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_TIMEOUT)

    def _not_connected(self, error: Exception) -> Failure:
        try:
            probe(self._kit, wait_for_alert=_ALERT_TIMEOUT)
        except Failure as plainer:
            return plainer
        text = str(error)
        if "identity" in text:
            return Failure(
                Reason.CERTIFICATE_REFUSED,
                f"{self._kit.target} and {self._kit.participant!r} do not take each other for what they say: {text}",
                final=True,
            )
        if "client_registration" in text:  # NVFlare says no more, whatever the trouble was
            return Failure(
                Reason.CERTIFICATE_REFUSED,
                f"{self._kit.target} does not register {self._kit.participant!r} ({text}); one that starts says so too",
            )
        return Failure(
            Reason.SERVER_UNREACHABLE,
            f"{self._kit.target} did not answer NVFlare's greeting ({text}); where the server's project has an "
            "admin_port of its own, that port must be named as the server",
        )


def _admin_config(kit: Kit) -> dict[str, Any]:
    return {
        AdminConfigKey.PROJECT_NAME: kit.project,
        AdminConfigKey.SERVER_IDENTITY: kit.identity,
        AdminConfigKey.CONNECTION_SCHEME: kit.scheme,
        AdminConfigKey.CONNECTION_SECURITY: kit.security,
        AdminConfigKey.HOST: kit.target.host,
        AdminConfigKey.PORT: kit.target.port,
        AdminConfigKey.CA_CERT: str(kit.root_ca),
        AdminConfigKey.CLIENT_CERT: str(kit.certificate),
        AdminConfigKey.CLIENT_KEY: str(kit.key),
    }
