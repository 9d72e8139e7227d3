"""What a courier's Secret may hold, and what is said when it is not a kit."""

import json
from pathlib import Path

import pytest

from sitelog.core.names import Reason
from sitelog.uploader.failure import Failure
from sitelog.uploader.kit import Target, read_kit
from support.federation.issuer import Issuer

CLIENT = {
    "servers": [{"name": "project", "service": {"target": "fl.example:8002", "scheme": "http"}, "identity": "fl"}],
    "client": {"connection_security": "mtls"},
}
ADMIN = {
    "admin": {
        "project_name": "project",
        "server_identity": "fl",
        "scheme": "tcp",
        "host": "fl.example",
        "port": 8003,
        "connection_security": "tls",
    }
}


@pytest.fixture
def kit(tmp_path: Path, issuer: Issuer) -> Path:
    certificate, key = issuer.issue("courier-1")
    (tmp_path / "fed_client.json").write_text(json.dumps(CLIENT))
    (tmp_path / "rootCA.pem").write_bytes(issuer.pem)
    (tmp_path / "client.crt").write_bytes(certificate)
    (tmp_path / "client.key").write_bytes(key)
    return tmp_path


def refusal(kit: Path, server: str | None = None) -> str:
    with pytest.raises(Failure) as caught:
        read_kit(kit, server)
    assert caught.value.reason == Reason.KIT_INCOMPLETE
    assert not caught.value.final, "the Secret may be corrected while we wait"
    return str(caught.value)


def test_client_kit(kit: Path) -> None:
    read = read_kit(kit)
    assert (read.participant, read.role) == ("courier-1", "")
    assert (read.project, read.identity, read.scheme, read.security) == ("project", "fl", "http", "mtls")
    assert read.target == Target("fl.example", 8002)


def test_admin_kit(kit: Path) -> None:
    (kit / "fed_client.json").unlink()
    (kit / "fed_admin.json").write_text(json.dumps(ADMIN))
    read = read_kit(kit)
    assert (read.project, read.identity, read.scheme, read.security) == ("project", "fl", "tcp", "tls")
    assert read.target == Target("fl.example", 8003)


def test_server_option_wins(kit: Path) -> None:
    assert read_kit(kit, "[fd00::1]:443").target == Target("fd00::1", 443)


@pytest.mark.parametrize("server", ["fl.example", "fl.example:", ":8002", "fl.example:port", "fl.example:70000", "a:²"])
def test_bad_server(kit: Path, server: str) -> None:
    assert f"{server!r} is not HOST:PORT" in refusal(kit, server)


@pytest.mark.parametrize("name", ["fed_client.json", "rootCA.pem", "client.crt", "client.key"])
def test_missing_file_is_named(kit: Path, name: str) -> None:
    (kit / name).unlink()
    assert f"lacks {name}: the courier's Secret must have the keys fed_client.json, rootCA.pem" in refusal(kit)


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "lacks fed_client.json, rootCA.pem, client.crt, client.key" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "fed_client.json is not JSON"),
        ("[]", "cannot be used"),
        ("{}", "no 'servers'"),
        ('{"servers": []}', "cannot be used"),
        ('{"servers": [{"name": "p"}], "client": {}}', "no 'service'"),
        (json.dumps({**CLIENT, "servers": [{"name": "p", "service": {"target": "fl"}}]}), "'fl' is not HOST:PORT"),
    ],
)
def test_malformed_configuration(kit: Path, text: str, said: str) -> None:
    (kit / "fed_client.json").write_text(text)
    assert said in refusal(kit)


@pytest.mark.parametrize("name", ["rootCA.pem", "client.crt", "client.key"])
def test_malformed_pem(kit: Path, name: str) -> None:
    (kit / name).write_text("not PEM")
    assert "cannot be used" in refusal(kit)


def test_key_of_another_certificate(kit: Path, issuer: Issuer) -> None:
    (kit / "client.key").write_bytes(issuer.issue("courier-1")[1])
    assert "mismatch" in refusal(kit).lower()


def test_certificate_without_a_name(kit: Path, issuer: Issuer) -> None:
    certificate, key = issuer.issue("")
    (kit / "client.crt").write_bytes(certificate)
    (kit / "client.key").write_bytes(key)
    assert "client.crt has no common name" in refusal(kit)


def test_clear_text_server_needs_no_tls(kit: Path) -> None:
    (kit / "fed_client.json").write_text(json.dumps({**CLIENT, "client": {"connection_security": "clear"}}))
    assert read_kit(kit).tls() is None
