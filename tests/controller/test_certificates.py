"""The webhook's certificate: issued, renewed while reviews go on, mended, and gone with the release."""

import base64
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sitelog.controller.certificates import reconciler as room
from sitelog.controller.certificates.reconciler import CertificateReconciler
from sitelog.kube.client import KubeClient
from support.control_plane.api import ApiError, Json
from support.control_plane.control_plane import ControlPlane
from support.control_plane.process import free_port
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.controllers import Controllers, own_controllers
from support.sitelog.installation import CHART, NAMESPACE, Installation, configmap
from support.wait import wait_for

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
INSTALLED = "sitelog-sitelog-system"
SERVING = "sitelog.dev/serving-ca"
SECRET = "sitelog-webhook-certificate"
DAY = 24 * 3600.0


class Trust:
    """One webhook configuration and the Secret that goes with it, as an administrator sees them."""

    def __init__(self, control_plane: ControlPlane, configuration: str, namespace: str, secret: str) -> None:
        self._api = control_plane.api
        self._configuration = f"{CONFIGURATIONS}/{configuration}"
        self._secret = f"/api/v1/namespaces/{namespace}/secrets/{secret}"

    def configuration(self) -> Json:
        return dict(self._api.get(self._configuration))

    def bundle(self) -> list[bytes]:
        """The serial numbers of the CAs; all webhooks trust the same ones."""
        bundles = {webhook["clientConfig"].get("caBundle", "") for webhook in self.configuration()["webhooks"]}
        (bundle,) = bundles
        return [serial(ca) for ca in x509.load_pem_x509_certificates(base64.b64decode(bundle))] if bundle else []

    def serving(self) -> bytes:
        annotation = self.configuration()["metadata"].get("annotations", {}).get(SERVING, "")
        return serial(x509.load_pem_x509_certificate(annotation.encode())) if annotation else b""

    def secret(self) -> Json:
        return dict(self._api.get(self._secret))

    def issuer(self) -> bytes:
        """The serial number of the CA beside the certificate in the Secret."""
        return serial(x509.load_pem_x509_certificate(base64.b64decode(self.secret()["data"]["ca.crt"])))

    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(base64.b64decode(self.secret()["data"]["tls.crt"]))

    def forget(self) -> None:
        """Take away the word which CA serves: a renewal is due."""
        self._api.patch(self._configuration, {"metadata": {"annotations": {SERVING: None}}})

    def wipe(self) -> None:
        webhooks = self.configuration()["webhooks"]
        for webhook in webhooks:
            del webhook["clientConfig"]["caBundle"]
        self._api.patch(self._configuration, {"webhooks": webhooks})

    def delete_secret(self) -> None:
        self._api.delete(self._secret)


def serial(certificate: x509.Certificate) -> bytes:
    return f"{certificate.serial_number:x}".encode()


# --- renewed under reviews, by processes that are killed --------------------------------------------------------------


@pytest.fixture
def controllers(installation: Installation, tmp_path: Path) -> Iterator[Controllers]:
    options = (f"--certificate-secret={SECRET}", f"--webhook-configuration={INSTALLED}", "--webhook-host=127.0.0.1")
    with own_controllers(installation, tmp_path, *options) as controllers:
        yield controllers


@pytest.fixture
def refused(control_plane: ControlPlane, namespace: str) -> Iterator[list[str]]:
    """What went wrong with reviews that are asked for all the time."""
    wrong: list[str] = []
    asked = [0, 0]
    over = threading.Event()
    body = configmap(namespace, "job", "{}")

    def keep_asking(place: int) -> None:
        while not over.is_set():
            try:
                control_plane.api.create(f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All", body)
            except ApiError as error:
                wrong.append(str(error))
            asked[place] += 1
            over.wait(0.005)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(keep_asking, place) for place in range(2)]
        try:
            yield wrong
        finally:
            over.set()
        for asking in running:
            asking.result()
    assert min(asked) > 20


def test_a_renewal_that_is_killed_at_any_step_costs_no_review(
    control_plane: ControlPlane,
    installation: Installation,
    kubelet: PlayedKubelet,
    controllers: Controllers,
    refused: list[str],
) -> None:
    trust = Trust(control_plane, INSTALLED, NAMESPACE, SECRET)
    steps = (
        ("PATCH", f"/{INSTALLED}$", "caBundle"),
        ("PATCH", f"/secrets/{SECRET}$", "tls.crt"),
        ("PATCH", f"/{INSTALLED}$", "BEGIN CERTIFICATE"),
    )
    controllers.start()
    for step in steps:
        old, trap = trust.serving(), controllers.proxy.trap(*step, forward=True)
        assert old in trust.bundle()
        trust.forget()
        trap.wait()
        controllers.kill()
        trap.open()
        controllers.start()
        wait_for(lambda: trust.serving() not in (b"", old), 60, "a new CA to serve")  # noqa: B023 - at once
        assert trust.issuer() == trust.serving()
        assert {old, trust.serving()} <= set(trust.bundle())
    certificate = trust.secret()["data"]["tls.crt"]
    ports = [kubelet.local_port(NAMESPACE, pod["metadata"]["name"], "webhook") for pod in installation.pods("webhook")]
    served = base64.b64decode(certificate).decode().strip()
    for port in ports:
        wait_for(lambda: served_by(port) == served, 60, "the webhook's pods to serve with it")  # noqa: B023 - at once
    assert refused == []
    assert not [request for request in controllers.proxy.seen if request.startswith("GET") and "/secrets" in request]


def served_by(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port)).strip()


# --- what is due when: only time is played ----------------------------------------------------------------------------


@pytest.fixture
def trust(control_plane: ControlPlane, namespace: str) -> Iterator[Trust]:
    """A configuration of two webhooks that are never called."""
    name = f"test-{secrets.token_hex(4)}"
    webhook = {
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [],
    }
    webhooks = [{**webhook, "name": f"{each}.test.sitelog.dev"} for each in ("one", "two")]
    control_plane.api.create(CONFIGURATIONS, {"metadata": {"name": name}, "webhooks": webhooks})
    yield Trust(control_plane, name, namespace, "certificate")
    control_plane.api.delete(f"{CONFIGURATIONS}/{name}")


@pytest.fixture
def pass_days(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let days pass."""
    now = datetime.now(UTC)
    monkeypatch.setattr(room, "_PROPAGATION_SECONDS", 0.0)
    monkeypatch.setattr(room, "utc_now", lambda: now)

    def pass_days(days: float) -> None:
        nonlocal now
        now += timedelta(days=days)

    return pass_days


@pytest.fixture
def certificates(client: KubeClient, trust: Trust, namespace: str) -> Callable[..., CertificateReconciler]:
    def make(*hosts: str, days: float = 90) -> CertificateReconciler:
        name = trust.configuration()["metadata"]["name"]
        names = {"namespace": namespace, "secret": "certificate", "configuration": name}
        return CertificateReconciler(client, **names, hosts=hosts, lifetime=days * DAY)

    return make


async def test_it_is_renewed_in_time(
    trust: Trust, certificates: Callable[..., CertificateReconciler], pass_days: Callable[[float], None]
) -> None:
    keeper = certificates("sitelog-webhook.sitelog-system.svc", "10.0.0.5")
    await keeper.reconcile()
    first = trust.serving()
    assert trust.bundle() == [first] == [trust.issuer()]
    names = trust.certificate().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["sitelog-webhook.sitelog-system.svc"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5"]
    assert trust.secret()["type"] == "kubernetes.io/tls"

    pass_days(59)
    await keeper.reconcile()
    assert trust.serving() == first

    pass_days(2)
    await keeper.reconcile()
    second = trust.serving()
    assert trust.bundle() == [first, second]
    assert trust.issuer() == second != first
    pass_days(44)
    await keeper.reconcile()
    assert trust.bundle() == [first, second]
    pass_days(2)
    await keeper.reconcile()
    assert trust.bundle() == [second]

    pass_days(200)  # nobody was there
    await keeper.reconcile()
    assert trust.bundle() == [trust.serving()]
    assert trust.serving() != second


async def test_a_renewal_that_another_controller_has_begun_is_left_to_it_for_a_while(
    trust: Trust,
    certificates: Callable[..., CertificateReconciler],
    pass_days: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = certificates("one.example"), certificates("one.example")
    await one.reconcile()
    first = trust.serving()

    write = one._write_secret

    async def meanwhile(issued: Any, owner: Any) -> None:
        await other.reconcile()
        await write(issued, owner)

    monkeypatch.setattr(one, "_write_secret", meanwhile)
    pass_days(61)
    await one.reconcile()
    second = trust.serving()
    assert trust.bundle() == [first, second]
    assert trust.issuer() == second != first

    async def killed(*_: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr(one, "_write_secret", killed)
    pass_days(61)
    with pytest.raises(InterruptedError):
        await one.reconcile()
    await other.reconcile()
    assert trust.serving() == second
    pass_days(6 / DAY)
    await other.reconcile()
    assert trust.issuer() == trust.serving() != second


async def test_what_somebody_has_changed_is_mended(
    trust: Trust, certificates: Callable[..., CertificateReconciler], pass_days: Callable[[float], None]
) -> None:
    keeper = certificates("one.example")
    await keeper.reconcile()
    first = trust.serving()

    trust.wipe()
    await keeper.reconcile()
    assert trust.bundle() == [first] == [trust.issuer()]  # no pod has to take up another certificate

    trust.delete_secret()
    await keeper.reconcile()
    second = trust.serving()
    assert trust.bundle() == [first, second]
    assert trust.issuer() == second

    await certificates("two.example").reconcile()
    assert trust.serving() != second
    names = trust.certificate().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["two.example"]
    (owner,) = trust.secret()["metadata"]["ownerReferences"]
    assert owner["uid"] == trust.configuration()["metadata"]["uid"]


async def test_another_lifetime_holds_at_once_if_it_is_shorter(
    trust: Trust, certificates: Callable[..., CertificateReconciler], pass_days: Callable[[float], None]
) -> None:
    await certificates("one.example").reconcile()
    first = trust.serving()
    await certificates("one.example", days=30).reconcile()
    second = trust.serving()
    assert trust.bundle() == [first, second]

    await certificates("one.example", days=30).reconcile()
    await certificates("one.example", days=90).reconcile()
    assert trust.serving() == second
    pass_days(21)
    await certificates("one.example", days=90).reconcile()
    assert trust.serving() != second


# --- the end ----------------------------------------------------------------------------------------------------------


def test_an_uninstalled_release_leaves_nothing_but_its_policies(
    control_plane: ControlPlane, installation: Installation, namespace: str
) -> None:
    here = f"--namespace={namespace}"
    one_each = ("webhook.replicas=1", "controller.replicas=1")
    values = ("crds.enabled=false", f'webhook.url="https://127.0.0.1:{free_port()}"', *one_each)
    control_plane.helm("install", "sitelog", str(CHART), here, *(f"--set-json={value}" for value in values))
    secret = f"/api/v1/namespaces/{namespace}/secrets/{SECRET}"
    wait_for(lambda: control_plane.exists(secret), 60, "its controller to issue a certificate")

    control_plane.helm("uninstall", "sitelog", here, "--wait")

    wait_for(lambda: not control_plane.exists(secret), 60, "the certificate to go")
    kinds = "all,secrets,networkpolicies,serviceaccounts,roles,rolebindings,poddisruptionbudgets,leases"
    only = ["serviceaccount/default"]
    wait_for(lambda: control_plane.kubectl("get", kinds, here, "-oname").split() == only, 60, "all else to go")
    cluster = control_plane.kubectl("get", "mutatingwebhookconfigurations,clusterroles,clusterrolebindings", "-oname")
    assert namespace not in cluster
