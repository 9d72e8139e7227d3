"""The program `sitelog`: one command for each process, and `check` for a person."""

import asyncio
import sys
from collections.abc import Coroutine
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from sitelog.core.durations import parse_duration
from sitelog.core.policy.governed import EVERYWHERE, Governed
from sitelog.settings import ControllerSettings, WebhookSettings
from sitelog.telemetry import logs

app = typer.Typer(
    help="A federated-learning site's log policy, in the Kubernetes API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class LogFormat(str, Enum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(str, Enum):
    """From which level on log lines are written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Output(str, Enum):
    """How `check` answers."""

    TEXT = "text"
    JSON = "json"


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


RootNamespace = Annotated[str, typer.Option(envvar="SITELOG_ROOT_NAMESPACE", help="Namespace of the release.")]
Namespaces = Annotated[
    list[str] | None, typer.Option("--namespace", envvar="SITELOG_NAMESPACE", help="Governed; none: all not excluded.")
]
HealthPort = Annotated[
    int, typer.Option(envvar="SITELOG_HEALTH_PORT", min=0, max=65535, help="For /healthz, /readyz and /metrics.")
]
LogFormatOption = Annotated[LogFormat, typer.Option(envvar="SITELOG_LOG_FORMAT")]
LogLevelOption = Annotated[LogLevel, typer.Option(envvar="SITELOG_LOG_LEVEL", case_sensitive=False)]


@app.command()
def webhook(
    root_namespace: RootNamespace,
    certificate_dir: Annotated[Path, typer.Option(envvar="SITELOG_CERTIFICATE_DIR", help="Has tls.crt and tls.key.")],
    gate_image: Annotated[str, typer.Option(envvar="SITELOG_GATE_IMAGE", help="FL clients copy the gate from it.")],
    namespaces: Namespaces = None,
    port: Annotated[int, typer.Option(envvar="SITELOG_PORT", min=0, max=65535)] = 9443,
    health_port: HealthPort = 8080,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Answer admission reviews."""
    from sitelog.webhook.main import run  # noqa: PLC0415 - each process loads its own room only

    logs.set_up(log_level.value, log_format.value)
    governed = Governed(root_namespace, frozenset(namespaces or ()))
    _serve(run(WebhookSettings(governed, port, health_port, certificate_dir, gate_image)))


@app.command()
def controller(
    root_namespace: RootNamespace,
    upload_image: Annotated[str, typer.Option(envvar="SITELOG_UPLOAD_IMAGE", help="Image of upload Jobs.")],
    admission_policy_prefix: Annotated[
        str, typer.Option(envvar="SITELOG_ADMISSION_POLICY_PREFIX", help="Of the chart's admission policies.")
    ],
    gate_role: Annotated[str, typer.Option(envvar="SITELOG_GATE_ROLE", help="ClusterRole of injected gates.")],
    pod: Annotated[str, typer.Option(envvar="SITELOG_POD", help="Name of the pod that it runs in.")] = "",
    certificate_secret: Annotated[
        str, typer.Option(envvar="SITELOG_CERTIFICATE_SECRET", help="Secret to keep the webhook's certificate in.")
    ] = "",
    webhook_configuration: Annotated[
        str, typer.Option(envvar="SITELOG_WEBHOOK_CONFIGURATION", help="Gets the certificate's CA.")
    ] = "",
    webhook_host: Annotated[
        list[str] | None, typer.Option(envvar="SITELOG_WEBHOOK_HOST", help="The certificate is good for it.")
    ] = None,
    certificate_lifetime: Annotated[
        float, typer.Option(envvar="SITELOG_CERTIFICATE_LIFETIME", parser=_seconds, metavar="DURATION")
    ] = "2160h",  # type: ignore[assignment] # typer gives a default to the parser too
    health_port: HealthPort = 8080,
    sweep_interval: Annotated[
        float, typer.Option(envvar="SITELOG_SWEEP_INTERVAL", parser=_seconds, metavar="DURATION")
    ] = "30s",  # type: ignore[assignment]
    published_retention: Annotated[
        float, typer.Option(envvar="SITELOG_PUBLISHED_RETENTION", parser=_seconds, metavar="DURATION")
    ] = "168h",  # type: ignore[assignment]
    max_uploads: Annotated[int, typer.Option(envvar="SITELOG_MAX_UPLOADS", min=1)] = 8,
    namespaces: Namespaces = None,
    excluded_namespaces: Annotated[
        list[str] | None,
        typer.Option("--excluded-namespace", envvar="SITELOG_EXCLUDED_NAMESPACE", help="Never governed."),
    ] = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Keep policies, ConfigMaps, error logs and certificates in line."""
    from sitelog.controller.main import run  # noqa: PLC0415

    logs.set_up(log_level.value, log_format.value)
    _serve(
        run(
            ControllerSettings(
                governed=Governed(root_namespace, frozenset(namespaces or ()), frozenset(excluded_namespaces or ())),
                pod=pod,
                health_port=health_port,
                certificate_secret=certificate_secret,
                webhook_configuration=webhook_configuration,
                webhook_hosts=tuple(webhook_host or ()),
                upload_image=upload_image,
                admission_policy_prefix=admission_policy_prefix,
                gate_role=gate_role,
                sweep_interval=sweep_interval,
                published_retention=published_retention,
                certificate_lifetime=certificate_lifetime,
                max_uploads=max_uploads,
            )
        )
    )


@app.command()
def upload(
    log: Annotated[Path, typer.Option(help="The captured error log, gzipped.")],
    kit: Annotated[Path, typer.Option(help="Folder with the courier's startup kit.")],
    job_id: Annotated[str, typer.Option(help="FL job that the log belongs to.")],
    client_name: Annotated[str, typer.Option(help="FL client that the log belongs to.")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Instead of the address in the kit.")] = "",
    retry_for: Annotated[float, typer.Option(parser=_seconds, metavar="DURATION")] = "45m",  # type: ignore[assignment]
    result_file: Annotated[Path | None, typer.Option(help="Gets the result, as JSON.")] = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Send one captured error log to the FL server, as the courier."""
    from sitelog.uploader.upload import UploadOptions, run  # noqa: PLC0415

    logs.set_up(log_level.value, log_format.value)
    raise typer.Exit(run(UploadOptions(log, kit, job_id, client_name, server or None, retry_for, result_file)))


@app.command(name="remove-finalizers")
def remove_finalizers(
    namespaces: Namespaces = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Take the finalizer from all job pods: helm runs it after an uninstall."""
    from sitelog.controller.remove_finalizers import remove_finalizers as run  # noqa: PLC0415

    logs.set_up(log_level.value, log_format.value)
    _serve(run(tuple(namespaces or EVERYWHERE)))


@app.command()
def check(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Configurations, resources.json files, ConfigMap manifests, folders of them, or -."),
    ],
    policy: Annotated[
        list[Path] | None, typer.Option(help="SiteLogPolicy manifests; without any, everything is Ungoverned.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="For configurations and manifests that name none.")] = "default",
    key: Annotated[
        str | None, typer.Option(help="What a file or - is called in the ConfigMap, if its name does not tell.")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TEXT,
) -> None:
    """Decide offline, as the webhook would. Exit code 0: all accepted, 1: something refused, 2: cannot be read."""
    from sitelog.check import results as checking  # noqa: PLC0415
    from sitelog.check.documents import CheckError, one_line  # noqa: PLC0415
    from sitelog.check.given import read_configmaps, read_policies  # noqa: PLC0415
    from sitelog.decider.door import Decider  # noqa: PLC0415
    from sitelog.decider.process import NoAnswerError  # noqa: PLC0415

    try:
        policies = read_policies(policy or [], namespace)
        given = list(read_configmaps(paths, namespace, key))
        with Decider() as decider:
            results = [result for each in given for result in checking.decide(each, policies, decider)]
    except (CheckError, NoAnswerError) as error:
        typer.echo(one_line(f"sitelog check: {error}"), err=True)
        raise typer.Exit(2) from None
    typer.echo(checking.as_json(results) if output is Output.JSON else checking.as_text(results))
    raise typer.Exit(1 if any(result.refused for result in results) else 0)


@app.command(name="install-gate")
def install_gate(directory: Annotated[Path, typer.Argument(help="Made, or filled, for any user to read.")]) -> None:
    """Copy the gate into a folder that another Python runs: `python DIRECTORY` is NVFlare's client with the gate."""
    from sitelog.install_gate import install_gate as install  # noqa: PLC0415

    try:
        install(directory)
    except OSError as error:
        typer.echo(f"sitelog install-gate: {error}; give a folder that this user may write", err=True)
        raise typer.Exit(1) from None


def _serve(process: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(process)
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """Run the program."""
    app(prog_name="sitelog")


if __name__ == "__main__":
    main()
