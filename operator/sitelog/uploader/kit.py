"""The courier's kit: what `nvflare provision` wrote for a participant, as a Secret mounted into a flat folder."""

import json
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from sitelog.core.names import Reason

from .failure import Failure

CLIENT_CONFIG = "fed_client.json"
ADMIN_CONFIG = "fed_admin.json"  # of a participant of type admin: its role may let it look at what is stored
ROOT_CA = "rootCA.pem"
CERTIFICATE = "client.crt"
KEY = "client.key"

_CLEAR = "clear"
_TLS = "tls"
_MTLS = "mtls"


@dataclass(frozen=True)
class Target:
    """The FL server as the kit, or `--server`, names it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read HOST:PORT; raises ValueError."""
        host, _, port = text.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 0xFFFF:  # noqa: PLR2004
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host, int(port))


@dataclass(frozen=True)
class Kit:
    """A complete kit.

    Attributes
    ----------
    participant
        The certificate's common name: who the courier is.
    role
        The role in an admin participant's certificate; empty for a client participant, which may not log in.
    project, identity, scheme, security
        The FL project, the server's common name, and how it is spoken to (`grpc`, `http`, `tcp`; `mtls`, `tls`,
        `clear`).
    """

    directory: Path
    participant: str
    role: str
    project: str
    identity: str
    scheme: str
    security: str
    target: Target

    @property
    def root_ca(self) -> Path:
        """The project's root certificate."""
        return self.directory / ROOT_CA

    @property
    def certificate(self) -> Path:
        """The courier's certificate."""
        return self.directory / CERTIFICATE

    @property
    def key(self) -> Path:
        """The courier's private key."""
        return self.directory / KEY

    def tls(self) -> ssl.SSLContext | None:
        """Give the TLS that NVFlare itself would speak with this kit; None where the kit says `clear`."""
        if self.security == _CLEAR:
            return None
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        context.check_hostname = False  # as NVFlare: it checks the server's identity by its common name, later on
        context.load_verify_locations(self.root_ca)
        if self.security != _TLS:
            context.load_cert_chain(self.certificate, self.key)
        return context


def read_kit(directory: Path, server: str | None = None) -> Kit:
    """Read and check the kit.

    Parameters
    ----------
    directory
        Flat: fed_client.json (or fed_admin.json), rootCA.pem, client.crt, client.key.
    server
        HOST:PORT to use instead of the kit's own.

    Raises
    ------
    Failure
        KIT_INCOMPLETE, never final: the Secret may be filled or corrected later.
    """
    _check_complete(directory)
    try:
        kit = _parse(directory)
        if server:
            kit = replace(kit, target=Target.parse(server))
        kit.tls()  # the root certificate, the certificate and the key fit together
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ssl.SSLError) as error:
        raise Failure(
            Reason.KIT_INCOMPLETE,
            f"the courier's kit cannot be used: {_say(error)}; put the files of its startup folder, "
            "as `nvflare provision` wrote them, into the courier's Secret",
        ) from error
    return kit


def _check_complete(directory: Path) -> None:
    missing = [name for name in (ROOT_CA, CERTIFICATE, KEY) if not (directory / name).is_file()]
    if not any((directory / name).is_file() for name in (CLIENT_CONFIG, ADMIN_CONFIG)):
        missing.insert(0, CLIENT_CONFIG)
    if missing:
        raise Failure(
            Reason.KIT_INCOMPLETE,
            f"the courier's kit lacks {', '.join(missing)}: the courier's Secret must have the keys "
            f"{CLIENT_CONFIG}, {ROOT_CA}, {CERTIFICATE} and {KEY}",
        )


def _parse(directory: Path) -> Kit:
    subject = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes()).subject
    participant = _first(subject, NameOID.COMMON_NAME)
    if not participant:
        raise ValueError(f"{CERTIFICATE} has no common name")
    if (directory / CLIENT_CONFIG).is_file():
        connection = _of_client(_load(directory / CLIENT_CONFIG))
    else:
        connection = _of_admin(_load(directory / ADMIN_CONFIG))
    role = _first(subject, NameOID.UNSTRUCTURED_NAME)
    return Kit(directory=directory, participant=participant, role=role, **connection)


def _of_client(config: Any) -> dict[str, Any]:
    server = config["servers"][0]
    service = server["service"]
    return {
        "project": str(server["name"]),
        "identity": str(server.get("identity") or Target.parse(service["target"]).host),
        "scheme": str(service.get("scheme", "grpc")),
        "security": str(config["client"].get("connection_security", _MTLS)).lower(),
        "target": Target.parse(service["target"]),
    }


def _of_admin(config: Any) -> dict[str, Any]:
    admin = config["admin"]
    return {
        "project": str(admin["project_name"]),
        "identity": str(admin["server_identity"]),
        "scheme": str(admin.get("scheme", "grpc")),
        "security": str(admin.get("connection_security", _MTLS)).lower(),
        "target": Target.parse(f"{admin['host']}:{admin['port']}"),
    }


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error


def _first(subject: x509.Name, oid: x509.ObjectIdentifier) -> str:
    return next((str(attribute.value) for attribute in subject.get_attributes_for_oid(oid)), "")


def _say(error: Exception) -> str:
    if isinstance(error, LookupError):
        return f"its configuration has no {error}"
    return str(error) or type(error).__name__
