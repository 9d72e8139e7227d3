"""Servers that are no FL servers."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sitelog.core.names import Reason
from sitelog.uploader import probe as module
from sitelog.uploader.failure import Failure
from sitelog.uploader.kit import Kit, read_kit
from sitelog.uploader.probe import probe
from support.federation.issuer import Issuer


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def kit(tmp_path: Path, issuer: Issuer, listener: socket.socket) -> Kit:
    certificate, key = issuer.issue("courier-1")
    config = {"servers": [{"name": "p", "service": {"target": "fl:1"}}], "client": {}}
    (tmp_path / "fed_client.json").write_text(json.dumps(config))
    (tmp_path / "rootCA.pem").write_bytes(issuer.pem)
    (tmp_path / "client.crt").write_bytes(certificate)
    (tmp_path / "client.key").write_bytes(key)
    return read_kit(tmp_path, f"127.0.0.1:{listener.getsockname()[1]}")


def unreachable(kit: Kit) -> str:
    with pytest.raises(Failure) as caught:
        probe(kit)
    assert caught.value.reason == Reason.SERVER_UNREACHABLE
    assert not caught.value.final
    return str(caught.value)


def test_nobody_listens(kit: Kit, listener: socket.socket) -> None:
    listener.close()
    assert "cannot be reached" in unreachable(kit)


def test_somebody_who_never_answers(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_TIMEOUT", 0.1)
    assert "does not answer" in unreachable(kit)


def test_somebody_who_speaks_no_tls(kit: Kit, listener: socket.socket) -> None:
    def greet() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(1 << 16)

    server = threading.Thread(target=greet)
    server.start()
    assert "does not speak TLS as expected" in unreachable(kit)
    server.join()
