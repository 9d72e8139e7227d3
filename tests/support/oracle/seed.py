"""NVFlare's own SiteLogStreamer as the oracle: what it makes of a job configuration."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_def import JobMetaKey
from nvflare.apis.workspace import Workspace
from nvflare.app_common.logging.constants import ALLOW_LOG_STREAMING_VAR
from nvflare.app_common.logging.site_log_streamer import SiteLogStreamer
from nvflare.fuel.utils.config_service import ConfigService

from sitelog.core.policy.policy import LogStreaming, Streamer

_SITE, _JOB = "site-1", "job-1"
_HANDLER = "_on_before_job_launch"


@dataclass(frozen=True)
class SeedResult:
    """What SiteLogStreamer left behind: the file's text, whether it raised, what it logged."""

    text: str
    crashed: str | None
    log: tuple[str, ...]

    @property
    def value(self) -> Any:
        return json.loads(self.text)


class _Recorded(SiteLogStreamer):
    """SiteLogStreamer with its log kept instead of printed."""

    def __init__(self, parameters: Streamer) -> None:
        self.lines: list[str] = []
        super().__init__(parameters.log_file_name, parameters.liveness_interval, parameters.poll_interval)

    def _note(self, _fl_ctx: FLContext, message: str, **_: Any) -> None:
        self.lines.append(message)

    log_info = log_debug = log_warning = log_error = log_exception = _note  # type: ignore[assignment]


class Seed:
    """A site's workspace on disk in which SiteLogStreamer treats one configuration after another."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        for name in ("startup", "local"):
            (root / name).mkdir()
        self._workspace = Workspace(str(root), _SITE)
        self._resources = root / "local" / "resources.json"
        self._config = Path(self._workspace.get_app_config_dir(_JOB)) / "config_fed_client.json"
        self._config.parent.mkdir(parents=True)
        self._context = FLContext()
        self._context.set_prop(FLContextKey.JOB_META, {JobMetaKey.JOB_ID: _JOB})
        self._context.set_prop(FLContextKey.WORKSPACE_ROOT, str(root))
        self._context.set_prop(ReservedKey.IDENTITY_NAME, _SITE, private=False)

    def close(self) -> None:
        self._folder.cleanup()

    def __call__(self, text: str, log_streaming: LogStreaming, parameters: Streamer | None = None) -> SeedResult:
        """Deploy a configuration at a site of this word and let SiteLogStreamer see it before the launch."""
        # Without it SiteLogStreamer would hear what some other test's site allows, and not look into the file.
        ConfigService.reset()
        allowed = log_streaming is LogStreaming.ALLOWED
        self._resources.write_text(json.dumps({ALLOW_LOG_STREAMING_VAR: allowed}))
        self._config.write_text(text, encoding="utf-8", newline="")
        streamer = _Recorded(parameters or Streamer())
        crashed = None
        try:
            getattr(streamer, _HANDLER)(EventType.BEFORE_JOB_LAUNCH, self._context)
        except Exception as error:  # noqa: BLE001 - whatever it is, NVFlare would swallow it and launch the job
            crashed = f"{type(error).__name__}: {error}"
        with self._config.open(encoding="utf-8", newline="") as file:
            return SeedResult(file.read(), crashed, tuple(streamer.lines))
