"""What one SiteLogPolicy says."""

from dataclasses import dataclass, field
from enum import Enum

from .selector import Selector


class LogStreaming(str, Enum):
    """What of a job's logs may go to the FL server; the later the stricter.

    `Allowed`: its log while it runs, and its error log. `ErrorLogOnly`: its error log after its end. `Forbidden`: none.
    """

    ALLOWED = "Allowed"
    ERROR_LOG_ONLY = "ErrorLogOnly"
    FORBIDDEN = "Forbidden"

    @property
    def prohibits_streamer(self) -> bool:
        """Whether no JobLogStreamer may be built or started."""
        return self is not LogStreaming.ALLOWED

    @property
    def allows_error_log(self) -> bool:
        """Whether a job's error log may go to the FL server after the job's end."""
        return self is not LogStreaming.FORBIDDEN

    @property
    def strictness(self) -> int:
        """Of several, the highest wins."""
        return tuple(LogStreaming).index(self)


class Mode(str, Enum):
    """`Enforce` acts. `DryRun` changes and refuses nothing, and says what it would do."""

    ENFORCE = "Enforce"
    DRY_RUN = "DryRun"


class OnRevoke(str, Enum):
    """What becomes of job pods that were started before a prohibition and cannot be stopped from streaming."""

    REPORT = "Report"
    DELETE_PODS = "DeletePods"


class Gate(str, Enum):
    """Whether the FL client's own pod gets Sitelog's gate when it is made."""

    NONE = "None"
    INJECTED = "Injected"


class Capture(str, Enum):
    """Where a job's error log is read from.

    `Sidecar`: a container beside the job that copies the very file. `ContainerLog`: the error records in the output of
    the job's own container.
    """

    SIDECAR = "Sidecar"
    CONTAINER_LOG = "ContainerLog"


@dataclass(frozen=True)
class Streamer:
    """Parameters of the injected JobLogStreamer; the defaults are those of NVFlare's class.

    Attributes
    ----------
    log_file_name : base name of the log file, in the job's folder.
    liveness_interval : seconds between heartbeats while nothing is written; below the receiver's idle timeout of 30 s.
    poll_interval : seconds between readings of the file.
    """

    log_file_name: str = "log.txt"
    liveness_interval: float = 10.0
    poll_interval: float = 0.5


@dataclass(frozen=True)
class Server:
    """Where the FL server is, when the courier's kit does not say it as this cluster sees it."""

    host: str
    port: int


@dataclass(frozen=True)
class ErrorLog:
    """What becomes of a job's error log.

    Attributes
    ----------
    upload : whether a non-empty error log, or the record of a pod that died, goes to the FL server.
    courier_secret_name : Secret in the job's namespace with the courier's startup kit.
    server : address of the FL server, or None for the kit's.
    capture : where the error log is read from.
    max_bytes : what is kept of a longer log: its end.
    image : image of the upload Job, or None for the operator's setting.
    ttl_seconds : how long a finished upload Job is kept.
    """

    upload: bool = False
    courier_secret_name: str = ""
    server: Server | None = None
    capture: Capture = Capture.SIDECAR
    max_bytes: int = 512 * 1024
    image: str | None = None
    ttl_seconds: int = 3600


@dataclass(frozen=True)
class Policy:
    """A SiteLogPolicy as the decisions see it.

    `created` is the creationTimestamp as the API writes it (RFC 3339, UTC, whole seconds), which sorts as text.
    """

    namespace: str
    name: str
    generation: int = 0
    created: str = ""
    log_streaming: LogStreaming = LogStreaming.ALLOWED
    mode: Mode = Mode.ENFORCE
    priority: int = 0
    selector: Selector = field(default_factory=Selector)
    client_name: str | None = None
    streamer: Streamer = field(default_factory=Streamer)
    error_log: ErrorLog | None = None
    on_revoke: OnRevoke = OnRevoke.REPORT
    gate: Gate = Gate.NONE

    @property
    def key(self) -> str:
        """`namespace/name`, as messages and annotations name it."""
        return f"{self.namespace}/{self.name}"

    @property
    def rank(self) -> tuple[int, int, str, str, str]:
        """Sorts the policy that decides first."""
        return (-self.log_streaming.strictness, -self.priority, self.created, self.name, self.namespace)
