"""A server that is down, takes nobody's log, or trusts somebody else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sitelog.core.names import EXIT_DELIVERED, EXIT_GIVE_UP, EXIT_RETRY
from support.federation.federation import MEMBER, SITE, Federation
from support.federation.issuer import Issuer
from support.federation.uploader_process import StartUpload


def without_receiver(resources: dict[str, Any]) -> None:
    resources["components"] = [one for one in resources["components"] if one["id"] != "log_receiver"]


def with_receiver(federation: Federation) -> Callable[[dict[str, Any]], None]:
    receiver = {
        "id": "log_receiver",
        "path": "nvflare.app_common.logging.job_log_receiver.JobLogReceiver",
        "args": {"dest_dir": str(federation.staging)},
    }
    return lambda resources: resources["components"].append(receiver)


def test_server_down_then_without_receiver_then_well(
    other_federation: Federation, job: str, upload: StartUpload
) -> None:
    server = other_federation
    waiting = upload(server.kit(MEMBER), job, SITE, b"kept through the outage\n", retry_for=60.0)
    waiting.saw("ServerUnreachable: .* cannot be reached")
    server.edit("localhost", without_receiver)
    server.start_server()
    waiting.saw("NoReceiver: .* JobLogReceiver")
    server.stop_server()
    server.edit("localhost", with_receiver(server))
    server.start_server()
    assert waiting.end == (EXIT_DELIVERED, "ErrorLogUploaded", True)
    assert server.stored(job)["ERRORLOG_site-1"] == b"kept through the outage\n"


def test_what_the_server_drops_is_not_called_delivered(
    other_federation: Federation, job: str, upload: StartUpload
) -> None:
    server = other_federation
    server.edit(SITE, lambda resources: resources.update(allow_log_streaming=False))
    server.start_server()
    server.start_site()
    done = upload(server.kit(MEMBER), job, SITE, retry_for=2.0)
    assert done.end == (EXIT_RETRY, "NotStored", False)
    assert "ERRORLOG_site-1" not in server.stored(job)


def test_we_do_not_trust_the_server(
    federation: Federation, job: str, upload: StartUpload, issuer: Issuer, tmp_path: Path
) -> None:
    kit = copied(federation.kit(MEMBER), tmp_path / "kit")
    (kit / "rootCA.pem").write_bytes(issuer.pem)
    done = upload(kit, job)
    assert done.end == (EXIT_GIVE_UP, "CertificateRefused", False)
    assert "rootCA.pem" in done.result["message"]


def test_the_server_does_not_trust_us(
    federation: Federation, job: str, upload: StartUpload, issuer: Issuer, tmp_path: Path
) -> None:
    kit = copied(federation.kit(MEMBER), tmp_path / "kit")
    certificate, key = issuer.issue("courier@sitelog.dev")
    (kit / "client.crt").write_bytes(certificate)
    (kit / "client.key").write_bytes(key)
    done = upload(kit, job)
    assert done.end == (EXIT_GIVE_UP, "CertificateRefused", False)
    assert "'courier@sitelog.dev'" in done.result["message"]


# What NVFlare raised when a server was killed between its challenge and the registration, as seen on a real cluster.
_NOT_REGISTERED_AT_FIRST = """
from nvflare.apis.fl_exception import FLCommunicationError
from nvflare.private.fed.authenticator import Authenticator
authenticate = Authenticator.authenticate
def fail(*_, **__):
    Authenticator.authenticate = authenticate
    raise FLCommunicationError("error:client_registration")
Authenticator.authenticate = fail
"""


def test_a_server_that_is_killed_while_it_registers_us(federation: Federation, job: str, upload: StartUpload) -> None:
    done = upload(
        federation.kit(MEMBER), job, SITE, b"kept through it\n", before=_NOT_REGISTERED_AT_FIRST, retry_for=60.0
    )
    assert done.end == (EXIT_DELIVERED, "ErrorLogUploaded", True)
    assert "does not register 'courier@sitelog.dev' (error:client_registration)" in done.text()
    assert federation.stored(job)["ERRORLOG_site-1"] == b"kept through it\n"


def copied(kit: Path, to: Path) -> Path:
    to.mkdir()
    for file in kit.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to
