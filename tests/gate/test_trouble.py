"""An API that refuses, is not there, does not answer or lost its webhook; and what the failure policy makes of it."""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from support.control_plane.control_plane import ControlPlane
from support.federation.gate_site import CONFIGURATION, JSON, GatedSite, published
from support.sitelog import gate_stand_in as where

Sites = Callable[..., GatedSite]


def kubeconfig_for(url: str, directory: Path) -> Path:
    """Write a kubeconfig for a server at `url` that nobody checks the certificate of."""
    path = directory / "elsewhere.kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def server(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A server on loopback that treats each connection with `serve` until the test ends; gives its port."""
    ended = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def treat(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                serve(connection, ended)

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    threads.append(threading.Thread(target=treat, args=[listener.accept()[0]]))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            accepting.join()
            for thread in threads:
                thread.join()


def say_nothing(_: socket.socket, ended: threading.Event) -> None:
    ended.wait()


def drip(connection: socket.socket, ended: threading.Event) -> None:
    """Answer one byte at a time: every single read is quick, and the whole never ends."""
    connection.sendall(b"HTTP/1.1 201 Created\r\nX-Endless: ")
    while not ended.wait(0.02):
        connection.sendall(b"x")


def close_at_once(_: socket.socket, __: threading.Event) -> None:
    return


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def assert_fails(here: GatedSite, *parts: str) -> None:
    error = here.deploy("job-trouble", {JSON: CONFIGURATION})
    assert error is not None
    assert error.startswith("Sitelog: the site's log policy cannot be asked, and SITELOG_GATE_FAILURE_POLICY is Fail: ")
    for part in parts:
        assert part in error
    assert not here.run_folder("job-trouble").exists()
    assert "\n" not in error


def assert_passes(here: GatedSite, caplog: pytest.LogCaptureFixture, *parts: str) -> None:
    assert here.deploy("job-trouble", {JSON: CONFIGURATION}) is None
    assert here.file("job-trouble").read_text() == CONFIGURATION
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    for part in ("job job-trouble at site-1 runs unchecked, as SITELOG_GATE_FAILURE_POLICY is Ignore", *parts):
        assert part in warning.getMessage()


def assert_follows_the_failure_policy(
    make: Callable[..., GatedSite], caplog: pytest.LogCaptureFixture, *parts: str
) -> None:
    assert_fails(make(fail_closed=True), *parts)
    caplog.clear()
    assert_passes(make(fail_closed=False), caplog, *parts)


def test_nothing_listens(site: Sites, closed_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = kubeconfig_for(f"https://127.0.0.1:{closed_port}", tmp_path)
    assert_follows_the_failure_policy(
        lambda *, fail_closed: site(where.ALLOWED, kubeconfig=elsewhere, fail_closed=fail_closed, timeout=5),
        caplog,
        f"https://127.0.0.1:{closed_port} does not answer",
        "check the API server",
    )


def test_a_server_that_accepts_and_says_nothing(site: Sites, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with server(say_nothing) as port:
        elsewhere = kubeconfig_for(f"https://127.0.0.1:{port}", tmp_path)
        assert_follows_the_failure_policy(
            lambda *, fail_closed: site(where.ALLOWED, kubeconfig=elsewhere, fail_closed=fail_closed, timeout=3),
            caplog,
            "answer",
        )


def test_a_server_that_sends_one_byte_at_a_time(site: Sites, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with server(drip) as port:
        elsewhere = kubeconfig_for(f"http://127.0.0.1:{port}", tmp_path)
        assert_follows_the_failure_policy(
            lambda *, fail_closed: site(where.ALLOWED, kubeconfig=elsewhere, fail_closed=fail_closed, timeout=3),
            caplog,
            "did not answer within 3 s",
        )


def test_a_server_that_hangs_up(site: Sites, tmp_path: Path) -> None:
    with server(close_at_once) as port:
        elsewhere = kubeconfig_for(f"https://127.0.0.1:{port}", tmp_path)
        assert_fails(site(where.ALLOWED, kubeconfig=elsewhere, timeout=4), f"https://127.0.0.1:{port} does not answer")


def test_a_server_with_another_certificate(site: Sites, control_plane: ControlPlane, tmp_path: Path) -> None:
    elsewhere = kubeconfig_for(control_plane.url, tmp_path)
    assert_fails(site(where.ALLOWED, kubeconfig=elsewhere, timeout=4), "CERTIFICATE_VERIFY_FAILED")


def test_a_service_account_without_rights(
    site: Sites, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    identity = control_plane.service_account_kubeconfig(where.ALLOWED, "default")
    assert_follows_the_failure_policy(
        lambda *, fail_closed: site(where.ALLOWED, kubeconfig=identity, fail_closed=fail_closed),
        caplog,
        'User "system:serviceaccount:gate-allowed:default" cannot create resource "configmaps"',
        "let this pod's service account create, get and update configmaps in namespace gate-allowed",
    )


def test_a_service_account_that_may_create_get_and_update_is_enough(site: Sites, control_plane: ControlPlane) -> None:
    rights = ("--verb=create", "--verb=get", "--verb=update", "--resource=configmaps")
    control_plane.kubectl("create", "serviceaccount", "client", "-n", where.ALLOWED)
    control_plane.kubectl("create", "role", "client", *rights, "-n", where.ALLOWED)
    subject = f"--serviceaccount={where.ALLOWED}:client"
    control_plane.kubectl("create", "rolebinding", "client", "--role=client", subject, "-n", where.ALLOWED)
    here = site(where.ALLOWED, kubeconfig=control_plane.service_account_kubeconfig(where.ALLOWED, "client"))

    assert here.deploy("job-rights", {JSON: CONFIGURATION}) is None
    assert here.deploy("job-rights", {JSON: CONFIGURATION}) is None
    assert here.policies.allow("job-rights", "site-1") is True


def test_a_token_that_is_not_valid(site: Sites, control_plane: ControlPlane, tmp_path: Path) -> None:
    forged = control_plane.write_kubeconfig(tmp_path / "forged.kubeconfig", "not-a-token")
    assert_fails(site(where.ALLOWED, kubeconfig=forged), "Unauthorized", "create, get and update configmaps")


def test_a_webhook_that_is_down_is_no_refusal(site: Sites, caplog: pytest.LogCaptureFixture) -> None:
    assert_follows_the_failure_policy(
        lambda *, fail_closed: site(where.WEBHOOK_DOWN, fail_closed=fail_closed, timeout=4),
        caplog,
        'failed calling webhook "configmaps.stand-in.test"',
        "check Sitelog's webhook",
    )


def test_a_namespace_that_does_not_exist(site: Sites) -> None:
    assert_fails(site("no-such-namespace"), 'namespaces "no-such-namespace" not found')


def test_a_configuration_that_no_configmap_can_hold(
    site: Sites, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    for fail_closed in (True, False):
        caplog.clear()
        here = site(where.UNGOVERNED, fail_closed=fail_closed)
        error = here.deploy("job-huge", {JSON: " " * (1024 * 1024 + 1)})
        text = error if fail_closed else caplog.records[-1].getMessage()
        assert text is not None
        assert "config_fed_client.json has 1048577 bytes and a ConfigMap takes 1048576" in text
    assert "job-huge" not in str(published(control_plane, where.UNGOVERNED))


def test_no_kubernetes_around(site: Sites, tmp_path: Path) -> None:
    assert_fails(
        site(where.ALLOWED, kubeconfig=tmp_path / "none.kubeconfig"),
        "the Kubernetes API cannot be found",
        "give this pod a service account token",
    )


def test_a_passing_trouble_passes(site: Sites, control_plane: ControlPlane, tmp_path: Path) -> None:
    """The first connection is cut, the next one reaches the real API server."""
    first = threading.Event()

    def cut_the_first(connection: socket.socket, ended: threading.Event) -> None:
        if not first.is_set():
            first.set()
            return
        forward(connection, int(control_plane.url.rsplit(":", 1)[1]), ended)

    with server(cut_the_first) as port:
        text = control_plane.kubeconfig.read_text().replace(control_plane.url, f"https://127.0.0.1:{port}")
        through = tmp_path / "through.kubeconfig"
        through.write_text(text)
        here = site(where.FORBIDDEN, kubeconfig=through)

        assert here.deploy("job-retried", {JSON: CONFIGURATION}) is None

    assert first.is_set()
    assert here.file("job-retried").read_text() == where.STRIPPED


def forward(connection: socket.socket, port: int, ended: threading.Event) -> None:
    """Carry bytes both ways between a connection and a port on loopback until either side closes."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not ended.is_set() and (data := source.recv(65536)):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    with socket.create_connection(("127.0.0.1", port)) as upstream:
        back = threading.Thread(target=carry, args=(upstream, connection))
        back.start()
        carry(connection, upstream)
        back.join()


def test_a_mistake_in_the_gate_fails_the_job_and_raises_nothing(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(where.ALLOWED, fail_closed=False)
    monkeypatch.setattr("sitelog.gate.deployer.find_configuration", lambda _: 1 / 0)

    error = here.deploy("job-mistake", {JSON: CONFIGURATION})

    assert error == "Sitelog: a mistake in Sitelog's gate (ZeroDivisionError): see the client's log"
    assert not here.run_folder("job-mistake").exists()
