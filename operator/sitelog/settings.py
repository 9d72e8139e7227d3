"""What each process is told by its command line or environment, as typed values."""

from dataclasses import dataclass
from pathlib import Path

from sitelog.core.policy.governed import Governed


@dataclass(frozen=True)
class WebhookSettings:
    """Settings of `sitelog webhook`. `gate_image` is Sitelog's own, from which FL clients' pods copy the gate."""

    governed: Governed
    port: int
    health_port: int
    certificate_dir: Path
    gate_image: str


@dataclass(frozen=True)
class ControllerSettings:
    """Settings of `sitelog controller`.

    Attributes
    ----------
    pod : the name of the pod that the process runs in; empty outside of one.
    certificate_secret : Secret for the webhook's certificate; empty where somebody else makes it.
    webhook_configuration : the MutatingWebhookConfiguration whose caBundle goes with it.
    webhook_hosts : names and addresses that the certificate is good for.
    upload_image : image of upload Jobs whose policy names none.
    admission_policy_prefix : with what the names of the chart's admission policies begin.
    gate_role : the ClusterRole that gates in FL clients' pods get in their namespace.
    sweep_interval, published_retention, certificate_lifetime : seconds.
    max_uploads : upload Jobs that may run at a time in a namespace.
    """

    governed: Governed
    pod: str
    health_port: int
    certificate_secret: str
    webhook_configuration: str
    webhook_hosts: tuple[str, ...]
    upload_image: str
    admission_policy_prefix: str
    gate_role: str
    sweep_interval: float
    published_retention: float
    certificate_lifetime: float
    max_uploads: int
