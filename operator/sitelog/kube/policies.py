"""SiteLogPolicy objects, from JSON to `core.policy.Policy`, and their status back.

The API server has checked them against the schema in `crds/` already. They are checked again here, because `sitelog
check` reads policies from files, and because a policy in a cluster may be older than its schema.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from sitelog.core.durations import parse_duration
from sitelog.core.governed import Governed
from sitelog.core.names import GROUP, KIND, VERSION
from sitelog.core.policy import (
    Capture,
    ErrorLog,
    Gate,
    InForce,
    LogStreaming,
    Mode,
    OnRevoke,
    Policy,
    Requirement,
    Selector,
    Server,
    Streamer,
    applicable,
    in_force,
)

IDLE_TIMEOUT = 30.0  # seconds until NVFlare's JobLogReceiver gives up a silent stream


class PolicyError(Exception):
    """A SiteLogPolicy that cannot be used. The message names the object, the field and what is wrong with it.

    Attributes
    ----------
    fallback : what is in force all the same: a policy that forbids goes on forbidding, whatever else it says.
    """

    def __init__(self, message: str, fallback: Policy | None) -> None:
        super().__init__(message)
        self.fallback = fallback


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


Duration = Annotated[float, BeforeValidator(lambda text: parse_duration(str(text))), Field(gt=0)]
BaseName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\]+$")]


class _Expression(_Model):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class _Selector(_Model):
    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: tuple[_Expression, ...] = ()


class _Streamer(_Model):
    log_file_name: BaseName = "log.txt"
    liveness_interval: Duration = Field(default=10.0, lt=IDLE_TIMEOUT)
    poll_interval: Duration = 0.5

    @model_validator(mode="after")
    def _poll_within_liveness(self) -> "_Streamer":
        if self.poll_interval > self.liveness_interval:
            raise ValueError("pollInterval must be at most livenessInterval")
        if self.log_file_name in (".", ".."):
            raise ValueError("logFileName must be the name of a file")
        return self


class _Server(_Model):
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)


class _ErrorLog(_Model):
    upload: Literal["Enabled", "Disabled"] = "Disabled"
    courier_secret_name: str | None = None
    server: _Server | None = None
    capture: Capture = Capture.SIDECAR
    max_bytes: int = Field(default=512 * 1024, ge=4096, le=943718)
    image: str | None = None
    ttl_seconds_after_finished: int = Field(default=3600, ge=60, le=604800)

    @model_validator(mode="after")
    def _has_courier(self) -> "_ErrorLog":
        if self.upload == "Enabled" and not self.courier_secret_name:
            raise ValueError("upload Enabled needs courierSecretName")
        return self


class _Spec(_Model):
    log_streaming: LogStreaming = LogStreaming.ALLOWED
    mode: Mode = Mode.ENFORCE
    priority: int = Field(default=0, ge=-1000, le=1000)
    selector: _Selector = Field(default_factory=_Selector)
    client_name: str | None = Field(default=None, min_length=1, max_length=253, pattern=r"^[^/\\\s]+$")
    streamer: _Streamer = Field(default_factory=_Streamer)
    error_log: _ErrorLog | None = None
    on_revoke: OnRevoke = OnRevoke.REPORT
    gate: Gate = Gate.NONE

    @model_validator(mode="after")
    def _has_client(self) -> "_Spec":
        if self.error_log and self.error_log.upload == "Enabled" and not self.client_name:
            raise ValueError("errorLog.upload Enabled needs clientName")
        return self


def parse_policy(body: Mapping[str, Any], *, default_namespace: str = "") -> Policy:
    """Read a SiteLogPolicy.

    Raises
    ------
    PolicyError
        The object is no SiteLogPolicy, or a field of it cannot be used.
    """
    metadata = body.get("metadata") or {}
    base = Policy(
        namespace=str(metadata.get("namespace") or default_namespace),
        name=str(metadata.get("name") or ""),
        generation=int(metadata.get("generation") or 0),
        created=str(metadata.get("creationTimestamp") or ""),
    )
    if body.get("apiVersion") != f"{GROUP}/{VERSION}" or body.get("kind") != KIND:
        raise PolicyError(f"'{base.key}' is no {KIND} of {GROUP}/{VERSION}", None)
    try:
        return _policy(base, _Spec.model_validate(body.get("spec") or {}))
    except ValidationError as error:
        problems = "; ".join(_problem(detail) for detail in error.errors())
        raise PolicyError(f"{KIND} {base.key}: {problems}", _fallback(base, body.get("spec"))) from None


def _problem(detail: Any) -> str:
    field = ".".join(("spec", *(str(part) for part in detail["loc"])))
    return f"{field}: {detail['msg'].removeprefix('Value error, ')}"


def _policy(base: Policy, spec: _Spec) -> Policy:
    return Policy(
        namespace=base.namespace,
        name=base.name,
        generation=base.generation,
        created=base.created,
        log_streaming=spec.log_streaming,
        mode=spec.mode,
        priority=spec.priority,
        selector=Selector(
            spec.selector.match_labels,
            tuple(Requirement(e.key, e.operator, e.values) for e in spec.selector.match_expressions),
        ),
        client_name=spec.client_name,
        streamer=Streamer(spec.streamer.log_file_name, spec.streamer.liveness_interval, spec.streamer.poll_interval),
        error_log=_error_log(spec.error_log) if spec.error_log else None,
        on_revoke=spec.on_revoke,
        gate=spec.gate,
    )


def _error_log(spec: _ErrorLog) -> ErrorLog:
    return ErrorLog(
        upload=spec.upload == "Enabled",
        courier_secret_name=spec.courier_secret_name or "",
        server=Server(spec.server.host, spec.server.port) if spec.server else None,
        capture=spec.capture,
        max_bytes=spec.max_bytes,
        image=spec.image,
        ttl_seconds=spec.ttl_seconds_after_finished,
    )


def _fallback(base: Policy, spec: Any) -> Policy | None:
    """Keep the prohibition of a policy that cannot be read otherwise, with the widest selector: it fails closed."""
    if not isinstance(spec, Mapping) or spec.get("logStreaming") != LogStreaming.FORBIDDEN.value:
        return None
    mode = Mode.DRY_RUN if spec.get("mode") == Mode.DRY_RUN.value else Mode.ENFORCE
    return Policy(
        base.namespace, base.name, base.generation, base.created, log_streaming=LogStreaming.FORBIDDEN, mode=mode
    )


class PolicyBook:
    """The policies as a process knows them: kept up to date by a watch, read by decisions.

    `synced` is a state of its own: before the first list is in, nobody may take "no policy" for an answer. `synced_at`
    is when the last full list came in, as a Unix time. `changes` counts what the watch told: a list that was asked for
    before the last change may be older than it, and must not be taken. `unread` are the namespaces whose policies could
    not be listed at last: what is known of them stays.
    """

    def __init__(self, governed: Governed) -> None:
        self.governed = governed
        self.unread: frozenset[str] = frozenset()
        self.synced = False
        self.synced_at = 0.0
        self.changes = 0
        self._policies: dict[tuple[str, str], Policy] = {}
        self._problems: dict[tuple[str, str], str] = {}

    def replace(self, bodies: Sequence[Mapping[str, Any]], unread: Collection[str] = ()) -> None:
        """Take a whole list, but for the namespaces that could not be read."""
        self.unread = frozenset(unread)
        self._policies = {key: policy for key, policy in self._policies.items() if key[0] in unread}
        self._problems = {key: problem for key, problem in self._problems.items() if key[0] in unread}
        for body in bodies:
            self._put(body)
        self.synced = True

    def put(self, body: Mapping[str, Any]) -> None:
        """Take one object, new or changed. One that cannot be used is remembered with its problem."""
        self.changes += 1
        self._put(body)

    def _put(self, body: Mapping[str, Any]) -> None:
        key = _key(body)
        self._policies.pop(key, None)
        self._problems.pop(key, None)
        try:
            self._policies[key] = parse_policy(body)
        except PolicyError as error:
            self._problems[key] = str(error)
            if error.fallback:
                self._policies[key] = error.fallback

    def drop(self, body: Mapping[str, Any]) -> None:
        """Forget one object."""
        self.changes += 1
        self._policies.pop(_key(body), None)
        self._problems.pop(_key(body), None)

    def problem(self, namespace: str, name: str) -> str | None:
        """Return what is wrong with a policy, or None."""
        return self._problems.get((namespace, name))

    def in_force(self, namespace: str, labels: Mapping[str, str]) -> InForce:
        """Return what is in force for an object of a namespace with these labels."""
        root = self.governed.root
        return in_force(applicable(self.policies, root_namespace=root, namespace=namespace, labels=labels))

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All policies that count."""
        return tuple(self._policies.values())


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    return str(body["metadata"].get("namespace", "")), str(body["metadata"]["name"])
