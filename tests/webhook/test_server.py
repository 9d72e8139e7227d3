"""The webhook's own server, as a process of its own: what it takes, when it is ready, how it changes and ends."""

import concurrent.futures
import http.client
import json
import re
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kopf._core.reactor.inventory import ResourceMemories

from sitelog.kopf_setup.private import NoMemories
from sitelog.webhook.server import MAX_BODY
from support.control_plane.api_proxy import ApiProxy
from support.control_plane.control_plane import ControlPlane
from support.control_plane.keys import ServingPair, write_serving_pair
from support.control_plane.process import free_port
from support.sitelog.installation import NAMESPACE, Installation, configmap
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for

Answer = tuple[int, bytes]


class Webhook(SitelogProcess):
    """A webhook process whose certificate the test keeps."""

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        self.port = free_port()
        self.certificates = directory / "certificate"
        self.certificates.mkdir(exist_ok=True)
        super().__init__(
            "webhook",
            f"--root-namespace={NAMESPACE}",
            f"--port={self.port}",
            f"--certificate-dir={self.certificates}",
            "--gate-image=none",
            directory=directory,
            kubeconfig=kubeconfig,
        )
        self.trusted = ssl.create_default_context()

    def use(self, pair: ServingPair) -> None:
        """Put a certificate where the process looks; the test trusts it as well."""
        self.trusted.load_verify_locations(pair.certificate)
        shutil.copy(pair.certificate, self.certificates / "tls.crt")
        shutil.copy(pair.key, self.certificates / "tls.key")

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.trusted)

    def post(self, target: str, body: bytes, connection: http.client.HTTPSConnection | None = None) -> Answer:
        """Post over a new connection, or over a given one, which stays open."""
        used = connection or self.connect()
        try:
            used.request("POST", target, body, {"Content-Type": "application/json"})
            response = used.getresponse()
            return response.status, response.read()
        finally:
            if connection is None:
                used.close()

    def served(self) -> str:
        """The certificate that a new connection gets."""
        return ssl.get_server_certificate(("127.0.0.1", self.port))

    def resident(self) -> int:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) // 1024


def review(new: Any, old: Any = None, uid: str = "a") -> bytes:
    request = {
        "uid": uid,
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "namespace": "default",
        "operation": "UPDATE" if old else "CREATE",
        "userInfo": {"username": "somebody"},
        "object": new,
        "oldObject": old,
        "dryRun": False,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


SMALL = review(configmap("default", "job", "{}"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[ServingPair]:
    directory = tmp_path_factory.mktemp("pairs")
    return [write_serving_pair(directory, f"pair-{number}") for number in range(4)]


@pytest.fixture
def account(control_plane: ControlPlane, installation: Installation) -> str:
    return control_plane.service_account_token(NAMESPACE, "sitelog-webhook")


@pytest.fixture(scope="module")
def webhook(
    control_plane: ControlPlane,
    installation: Installation,
    pairs: list[ServingPair],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Webhook]:
    """One that is ready."""
    kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, "sitelog-webhook")
    with Webhook(tmp_path_factory.mktemp("webhook"), kubeconfig) as running:
        running.use(pairs[0])
        yield running.ready()


def test_it_is_ready_when_it_knows_the_policies_and_has_a_certificate(
    control_plane: ControlPlane, account: str, pairs: list[ServingPair], tmp_path: Path
) -> None:
    with ApiProxy(control_plane) as proxy:
        listing = proxy.trap("GET", "/sitelogpolicies")
        with Webhook(tmp_path, proxy.kubeconfig(tmp_path / "kubeconfig", account)) as webhook:
            webhook.use(pairs[0])
            listing.wait()
            assert webhook.ask("/readyz") == (503, "NO policies\nNO listening\n")
            assert webhook.ask("/healthz")[0] == 200
            with pytest.raises(ConnectionRefusedError):
                webhook.post("/configmaps", SMALL)
            (webhook.certificates / "tls.key").unlink()
            listing.open()
            wait_for(lambda: "waiting for one" in webhook.log, 60, "a complaint about the missing certificate")
            assert webhook.ask("/readyz") == (503, "ok policies\nNO listening\n")
            webhook.use(pairs[0])
            webhook.ready()
            assert webhook.post("/configmaps", SMALL)[0] == 200
            synced = re.search(r"(?m)^sitelog_policies_synced_timestamp_seconds (\S+)", webhook.ask("/metrics")[1])
            assert synced
            assert float(synced[1]) > 0


def test_only_reviews_are_taken(webhook: Webhook) -> None:
    request = json.loads(SMALL)["request"]

    def without(key: str) -> bytes:
        return json.dumps({"request": {name: value for name, value in request.items() if name != key}}).encode()

    bodies = [b"", b"\xff", b"{", b"[]", b"null", b'{"request": 1}', b"[" * 100_000]
    bodies += [without(key) for key in ("uid", "resource", "userInfo", "object")]
    unknown = {"group": "", "version": "v9", "resource": "things"}
    bodies += [
        json.dumps({"request": {**request, **more}}).encode() for more in ({"object": "text"}, {"resource": unknown})
    ]
    assert [webhook.post("/configmaps", body)[0] for body in bodies] == [400] * len(bodies)
    assert [webhook.post(target, SMALL)[0] for target in ("/", "/nope", "/configmaps/x", "/metrics")] == [404] * 4
    assert webhook.post("/configmaps", SMALL)[0] == 200
    assert "Traceback" not in webhook.log


def test_a_body_that_no_review_can_have_is_refused(webhook: Webhook) -> None:
    large = b'{"request": "' + b" " * MAX_BODY + b'"}'
    assert webhook.post("/configmaps", large)[0] == 413
    largest = b" " * (MAX_BODY - len(SMALL)) + SMALL
    assert webhook.post("/configmaps", largest)[0] == 200


def test_many_large_reviews_at_once_are_all_answered(webhook: Webhook) -> None:
    """Together far more than is taken at a time: they wait for each other."""
    largest = b" " * (MAX_BODY - len(SMALL)) + SMALL
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: webhook.post("/configmaps", largest)[0], range(8)))
    assert answers == [200] * 8


def test_the_certificate_changes_without_a_lost_request(webhook: Webhook, pairs: list[ServingPair]) -> None:
    over = threading.Event()

    def keep_asking() -> list[int]:
        answers = []
        while not over.is_set():
            answers.append(webhook.post("/configmaps", SMALL)[0])  # each over a connection of its own
        return answers

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(keep_asking) for _ in range(4)]
        try:
            for pair in pairs[1:]:
                webhook.use(pair)
                wait_for(lambda: webhook.served().strip() == pair.certificate.read_text().strip(), 60, "the new one")  # noqa: B023 - at once
            serving = webhook.served()
            shutil.copy(pairs[0].key, webhook.certificates / "tls.key")  # does not fit the certificate
            wait_for(lambda: "keeping the one in use" in webhook.log, 60, "a complaint about the broken pair")
            assert webhook.served() == serving
            webhook.use(pairs[0])
            wait_for(lambda: webhook.served() != serving, 60, "a good pair again")
        finally:
            over.set()
        answers = [answer for asking in running for answer in asking.result()]
    assert len(answers) > 100
    assert set(answers) == {200}


def test_memory_stays_as_it_is(webhook: Webhook) -> None:
    filler = json.dumps({"components": [], "filler": "x" * 40_000})

    def ask(first: int, count: int) -> None:
        connection = webhook.connect()
        for number in range(first, first + count):
            body = configmap("default", f"job-{number}", filler)
            body["metadata"]["uid"] = f"uid-{number}"
            status, _ = webhook.post("/configmaps", review(body, body, f"review-{number}"), connection)
            assert status == 200
        connection.close()

    ask(0, 200)
    before = webhook.resident()
    ask(200, 800)
    assert webhook.resident() - before < 25  # the objects of 800 reviews have 64 MiB


async def test_kopf_keeps_no_memo_of_a_review() -> None:
    """Its own memories grow with every object: too slowly for the test above, but for ever."""
    body: Any = {"metadata": {"uid": "a"}}
    for memories, kept in ((ResourceMemories(), 1), (NoMemories(), 0)):
        await memories.recall_memo(body, memobase=None, ephemeral=False)
        assert len(memories._items) == kept


def test_no_review_under_way_is_dropped_at_the_end(
    control_plane: ControlPlane, account: str, pairs: list[ServingPair], tmp_path: Path
) -> None:
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", account)
    with Webhook(tmp_path, kubeconfig) as webhook:
        webhook.use(pairs[0])
        webhook.ready()
        head = (
            f"POST /configmaps HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(SMALL)}\r\n\r\n"
        ).encode()
        connections = [webhook.connect() for _ in range(8)]
        for connection in connections:
            connection.connect()
            connection.sock.sendall(head + SMALL[:10])  # the rest comes when the process has been told to stop
        webhook.terminate()
        wait_for(lambda: not _listens(webhook), 60, "the listener to be closed")
        for connection in connections:
            connection.sock.sendall(SMALL[10:])
            response = http.client.HTTPResponse(connection.sock)
            response.begin()
            assert response.status == 200
            assert json.loads(response.read())["response"]["allowed"] is True
            connection.close()
        assert webhook.wait() == 0
        assert "Traceback" not in webhook.log


def _listens(webhook: Webhook) -> bool:
    try:
        webhook.served()
    except OSError:
        return False
    return True
