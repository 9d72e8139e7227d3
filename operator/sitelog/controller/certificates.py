"""The webhook's certificate: made, renewed in time, and its CA put into the webhook configuration.

The controller reads no Secret, its own neither. What it has to know stands in the webhook configuration: the bundle of
CAs, and in an annotation which of them signed the certificate in the Secret. Steps of a renewal, each of which may be
the last one of a process:

1. the new CA joins the bundle;
2. the new certificate goes into the Secret;
3. the annotation names the new CA;
4. when the webhook's pods have had time to take the certificate up, the old CA leaves the bundle.
"""

import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sitelog.core.names import ANNOTATION_SERVING_CA
from sitelog.kube.client import ConflictError, KubeClient, NotFoundError, path
from sitelog.telemetry.metrics import CERTIFICATE_EXPIRY

from .authority import Authority, Issued, issue, read_bundle, utc_now

_RENEW_AT: Final = 2 / 3  # of the lifetime, as cert-manager does
_OVERLAP: Final = 0.1  # of the lifetime in which the old CA stays; a kubelet takes a minute or two to bring a Secret

log = logging.getLogger(__name__)


class Certificates:
    """Keeps the webhook's certificate valid."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        secret: str,
        configuration: str,
        hosts: Sequence[str],
        lifetime: float,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._secret = secret
        self._configuration = path(
            "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", name=configuration
        )
        self._hosts = hosts
        self._lifetime = lifetime

    async def look(self) -> None:
        """Renew the certificate if it is time, and keep the bundle as it has to be."""
        now = utc_now()
        body = await self._client.get(self._configuration)
        bundle = read_bundle(_bundle(body))
        serving = next((ca for ca in bundle if ca.fingerprint == _serving(body)), None)
        if serving is None or now >= self._renewal(serving):
            serving = await self._renew(body, bundle, now)
        elif now >= serving.not_before + timedelta(seconds=self._lifetime * _OVERLAP) and len(bundle) > 1:
            await self._write(body, [serving])
            log.info("webhook certificate: the old CA left the bundle")
        elif not _complete(body, bundle):
            await self._write(body, bundle)
        CERTIFICATE_EXPIRY.set(serving.not_after.timestamp())

    def _renewal(self, serving: Authority) -> datetime:
        return serving.not_before + (serving.not_after - serving.not_before) * _RENEW_AT

    async def _renew(self, body: Mapping[str, Any], bundle: Sequence[Authority], now: datetime) -> Authority:
        issued = issue(self._hosts, self._lifetime, now)
        (new,) = read_bundle(issued.authority)
        valid = [ca for ca in bundle if ca.not_after > now]
        body = await self._write(body, [*valid, new])
        await self._write_secret(issued)
        await self._write(body, [*valid, new], serving=new)
        log.info("webhook certificate: renewed, good until %s", new.not_after.isoformat())
        return new

    async def _write(
        self, body: Mapping[str, Any], bundle: Sequence[Authority], serving: Authority | None = None
    ) -> dict[str, Any]:
        """Write the bundle into each webhook, and which CA serves where that changes."""
        encoded = base64.b64encode(b"".join(ca.pem for ca in bundle)).decode()
        webhooks = [
            {**webhook, "clientConfig": {**webhook["clientConfig"], "caBundle": encoded}}
            for webhook in body["webhooks"]
        ]
        metadata: dict[str, Any] = {"resourceVersion": body["metadata"]["resourceVersion"]}
        if serving:
            metadata["annotations"] = {ANNOTATION_SERVING_CA: serving.fingerprint}
        return await self._client.patch(self._configuration, {"metadata": metadata, "webhooks": webhooks})

    async def _write_secret(self, issued: Issued) -> None:
        files = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": issued.authority}
        data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": self._secret, "labels": {"app.kubernetes.io/managed-by": "sitelog"}},
            "data": data,
        }
        try:
            await self._client.patch(path("v1", "secrets", self._namespace, self._secret), {"data": data})
        except NotFoundError:
            try:
                await self._client.create(path("v1", "secrets", self._namespace), secret)
            except ConflictError:
                await self._client.patch(path("v1", "secrets", self._namespace, self._secret), {"data": data})


def _bundle(body: Mapping[str, Any]) -> bytes:
    """Return the bundle of the first webhook; all have the same unless somebody meddled."""
    webhooks = body.get("webhooks") or [{}]
    return base64.b64decode((webhooks[0].get("clientConfig") or {}).get("caBundle") or "")


def _serving(body: Mapping[str, Any]) -> str:
    return str((body["metadata"].get("annotations") or {}).get(ANNOTATION_SERVING_CA, ""))


def _complete(body: Mapping[str, Any], bundle: Sequence[Authority]) -> bool:
    wanted = b"".join(ca.pem for ca in bundle)
    return all(
        base64.b64decode((webhook.get("clientConfig") or {}).get("caBundle") or "") == wanted
        for webhook in body.get("webhooks") or ()
    )
