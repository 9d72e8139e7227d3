"""The gate's settings: the environment, because the command line is NVFlare's."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sitelog.core import names

NAMESPACE, FAILURE_POLICY, TIMEOUT = names.GATE_NAMESPACE, names.GATE_FAILURE_POLICY, names.GATE_TIMEOUT
KUBECONFIG = "KUBECONFIG"

SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_TIMEOUT = "6"  # NVFlare's server waits 10 s for a deployment, and NVFlare's own part of it takes some


class SettingsError(ValueError):
    """A setting that is missing or cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What the site's administrator decides about the gate.

    Attributes
    ----------
    namespace : where the job configurations are published, so whose policies govern them.
    fail_closed : whether a job must not run while the policy cannot be asked.
    timeout : seconds that asking may take in all, per job.
    kubeconfig : file that says where the Kubernetes API is, or None for the pod's own service account.
    """

    namespace: str
    fail_closed: bool
    timeout: float
    kubeconfig: str | None


def from_environment(
    environment: Mapping[str, str], service_account_namespace: Path = SERVICE_ACCOUNT_NAMESPACE
) -> Settings:
    """Read the settings; raise `SettingsError` for what cannot be used."""
    return Settings(
        namespace=environment.get(NAMESPACE) or _own_namespace(service_account_namespace),
        fail_closed=_fail_closed(environment.get(FAILURE_POLICY) or "Fail"),
        timeout=_seconds(environment.get(TIMEOUT) or DEFAULT_TIMEOUT),
        kubeconfig=_absolute(environment.get(KUBECONFIG, "")) or None,
    )


def _own_namespace(file: Path) -> str:
    try:
        namespace = file.read_text(encoding="utf-8").strip()
    except OSError:
        namespace = ""
    if not namespace:
        raise SettingsError(f"set {NAMESPACE}: this process has no service account whose namespace it could use")
    return namespace


def _absolute(files: str) -> str:
    """Keep the files that are meant: NVFlare's client changes its working directory before they are read."""
    return os.pathsep.join(str(Path(file).absolute()) for file in files.split(os.pathsep) if file)


def _fail_closed(text: str) -> bool:
    if text not in ("Fail", "Ignore"):
        raise SettingsError(f"{FAILURE_POLICY} is {text!r}: it must be Fail or Ignore")
    return text == "Fail"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsError(f"{TIMEOUT} is {text!r}: it must be a number of seconds above 0, such as {DEFAULT_TIMEOUT}")
    return seconds
