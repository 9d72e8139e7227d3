"""The `spec` of a SiteLogPolicy as people write it; the schema in `crds/` says the same to the API server."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from sitelog.core.durations import parse_duration
from sitelog.core.names import GROUP, KIND
from sitelog.core.policy.policy import Capture, ErrorLog, Gate, LogStreaming, Mode, OnRevoke, Policy, Server, Streamer
from sitelog.core.policy.selector import Requirement, Selector

IDLE_TIMEOUT_SECONDS = 30.0  # until NVFlare's JobLogReceiver gives up a silent stream


class SpecError(Exception):
    """A spec that cannot be used. The message names each field and what is wrong with it."""


def parse_spec(base: Policy, spec: Any) -> Policy:
    """Read a spec; `base` has what the metadata says.

    Raises
    ------
    SpecError
        A field is missing, unknown, or has a value that cannot be used.
    """
    try:
        return _Spec.model_validate(spec).policy(base)
    except ValidationError as error:
        raise SpecError("; ".join(_problem(detail) for detail in error.errors())) from None


def _problem(detail: Mapping[str, Any]) -> str:
    field = ".".join(("spec", *(str(part) for part in detail["loc"] if part != "[key]")))
    messages = {
        "missing": "it is required",
        "extra_forbidden": f"{KIND} has no such field; correct its name or remove it",
    }
    return f"{field}: {messages.get(detail['type']) or detail['msg'].removeprefix('Value error, ')}"


def _not_ours(key: str) -> str:
    if key.startswith(f"{GROUP}/"):
        raise ValueError(
            f"Sitelog itself writes the labels {GROUP}/..., and no object has them while its webhook is down; select by"
            " a label of your own, or remove the selector"
        )
    return key


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


def _no_folder(name: str) -> str:
    if name in {".", ".."}:
        raise ValueError(f"{name!r} is the name of a folder")
    return name


_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
_DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

Duration = Annotated[float, BeforeValidator(lambda text: parse_duration(str(text))), Field(gt=0)]
Integer = Annotated[int, Field(strict=True)]
BaseName = Annotated[str, Field(max_length=128, pattern=r"^[^/\\\pC]+$"), AfterValidator(_no_folder)]
ClientName = Annotated[str, Field(max_length=253, pattern=r"^[^/\\\pZ\pC]+$"), AfterValidator(_no_folder)]
SecretName = Annotated[str, Field(max_length=253, pattern=_DNS_NAME)]
Host = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._:-]+$")]
Image = Annotated[str, Field(max_length=512, pattern=r"^[^\pZ\pC]+$")]
LabelKey = Annotated[str, Field(max_length=317, pattern=_KEY), AfterValidator(_not_ours)]
LabelValue = Annotated[str, Field(max_length=63, pattern=_VALUE)]


class _Expression(_Model):
    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[LabelValue, ...] = ()

    @model_validator(mode="after")
    def _values_where_compared(self) -> "_Expression":
        if (self.operator in {"In", "NotIn"}) is not bool(self.values):
            raise ValueError("values belong to the operators In and NotIn, and to no other")
        return self


class _Selector(_Model):
    match_labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    match_expressions: tuple[_Expression, ...] = ()

    def value(self) -> Selector:
        return Selector(
            self.match_labels, tuple(Requirement(e.key, e.operator, e.values) for e in self.match_expressions)
        )


class _Streamer(_Model):
    log_file_name: BaseName = "log.txt"
    liveness_interval: Duration = Field(default=10.0, lt=IDLE_TIMEOUT_SECONDS)
    poll_interval: Duration = 0.5

    @model_validator(mode="after")
    def _poll_within_liveness(self) -> "_Streamer":
        if self.poll_interval > self.liveness_interval:
            raise ValueError("pollInterval must be at most livenessInterval")
        return self

    def value(self) -> Streamer:
        return Streamer(self.log_file_name, self.liveness_interval, self.poll_interval)


class _Server(_Model):
    host: Host
    port: Integer = Field(ge=1, le=65535)


class _ErrorLog(_Model):
    upload: Literal["Enabled", "Disabled"] = "Disabled"
    courier_secret_name: SecretName | None = None
    server: _Server | None = None
    capture: Capture = Capture.SIDECAR
    max_bytes: Integer = Field(default=512 * 1024, ge=4096, le=943718)
    image: Image | None = None
    ttl_seconds_after_finished: Integer = Field(default=3600, ge=60, le=604800)

    @model_validator(mode="after")
    def _has_courier(self) -> "_ErrorLog":
        if self.upload == "Enabled" and not self.courier_secret_name:
            raise ValueError("upload Enabled needs courierSecretName")
        return self

    def value(self) -> ErrorLog:
        return ErrorLog(
            upload=self.upload == "Enabled",
            courier_secret_name=self.courier_secret_name or "",
            server=Server(self.server.host, self.server.port) if self.server else None,
            capture=self.capture,
            max_bytes=self.max_bytes,
            image=self.image,
            ttl_seconds=self.ttl_seconds_after_finished,
        )


class _Spec(_Model):
    log_streaming: LogStreaming
    mode: Mode = Mode.ENFORCE
    priority: Integer = Field(default=0, ge=-1000, le=1000)
    selector: _Selector = Field(default_factory=_Selector)
    client_name: ClientName | None = None
    streamer: _Streamer = Field(default_factory=_Streamer)
    error_log: _ErrorLog | None = None
    on_revoke: OnRevoke = OnRevoke.REPORT
    gate: Gate = Gate.NONE

    @model_validator(mode="after")
    def _has_client(self) -> "_Spec":
        if self.error_log and self.error_log.upload == "Enabled" and not self.client_name:
            raise ValueError("errorLog.upload Enabled needs clientName")
        return self

    def policy(self, base: Policy) -> Policy:
        return replace(
            base,
            log_streaming=self.log_streaming,
            mode=self.mode,
            priority=self.priority,
            selector=self.selector.value(),
            client_name=self.client_name,
            streamer=self.streamer.value(),
            error_log=self.error_log.value() if self.error_log else None,
            on_revoke=self.on_revoke,
            gate=self.gate,
        )
