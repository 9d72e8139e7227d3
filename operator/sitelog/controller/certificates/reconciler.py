"""The webhook's certificate: made, renewed in time, and its CA put into the webhook configuration.

The controller reads no Secret, its own neither. What it has to know stands in the webhook configuration: the bundle of
CAs, and in an annotation the one that signed the certificate in the Secret. Steps of a renewal, each of which may be
the last one of a process:

1. the new CA joins the bundle;
2. the new certificate goes into the Secret;
3. the annotation names the new CA;
4. when the webhook's pods have had time to take the certificate up, the old CA leaves the bundle.

Who finds a CA in the bundle that is just made and not yet named leaves the renewal to the controller that has begun it,
and begins one of its own when that takes too long.

The Secret belongs to the webhook configuration and goes with it.
"""

import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sitelog.core.names import ANNOTATION_SERVING_CA
from sitelog.kube.client import KubeClient, NotFoundError, path
from sitelog.telemetry.metrics import CERTIFICATE_EXPIRY

from .authority import Authority, Issued, issue, read_bundle, utc_now

_RENEW_AT: Final = 2 / 3  # of the lifetime, as cert-manager does
_OVERLAP: Final = 1 / 2  # of the lifetime in which the old CA stays; a kubelet takes a minute or two to bring a Secret
_PROPAGATION_SECONDS: Final = 2.0  # in which every API server has heard of the new CA, before a pod may serve with it
_RENEWAL_SECONDS: Final = 5.0  # in which another controller brings a renewal to its end
_CONFIGURATIONS: Final = "admissionregistration.k8s.io/v1"

log = logging.getLogger(__name__)


class CertificateReconciler:
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
        self._configuration = path(_CONFIGURATIONS, "mutatingwebhookconfigurations", name=configuration)
        self._hosts = hosts
        self._lifetime = timedelta(seconds=lifetime)

    async def reconcile(self) -> None:
        """Renew the certificate if it is time, and keep the bundle as it has to be."""
        now = utc_now()
        body = await self._client.get(self._configuration)
        serving, bundle = _serving(body), _bundle(body)
        if serving is None or not self._good(serving, now) or not await self._keep_secret(body):
            if bundle and bundle[-1] != serving and self._just_made(bundle[-1], now):
                return
            serving = await self._renew(body, bundle, now)
        else:
            if serving not in bundle or now >= _part_of_lifetime(serving, _OVERLAP):
                bundle = [serving]
            if not _complete(body, bundle):
                await self._write(body, bundle)
                log.info("webhook certificate: the bundle is as it has to be again (CAs in it: %d)", len(bundle))
        CERTIFICATE_EXPIRY.set(serving.not_after.timestamp())

    def _good(self, serving: Authority, now: datetime) -> bool:
        too_long = serving.not_after > now + self._lifetime  # made when certificates were to live longer
        return now < _part_of_lifetime(serving, _RENEW_AT) and serving.hosts == frozenset(self._hosts) and not too_long

    def _just_made(self, authority: Authority, now: datetime) -> bool:
        return timedelta() <= now - (authority.not_after - self._lifetime) < timedelta(seconds=_RENEWAL_SECONDS)

    async def _renew(self, body: Mapping[str, Any], bundle: Sequence[Authority], now: datetime) -> Authority:
        issued = issue(self._hosts, self._lifetime.total_seconds(), now)
        (new,) = read_bundle(issued.authority)
        valid = [ca for ca in bundle if ca.not_after > now]
        body = await self._write(body, [*valid, new])
        if valid:
            await asyncio.sleep(_PROPAGATION_SECONDS)
        await self._write_secret(issued, body)
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
            metadata["annotations"] = {ANNOTATION_SERVING_CA: serving.pem.decode()}
        return await self._client.patch(self._configuration, {"metadata": metadata, "webhooks": webhooks})

    async def _write_secret(self, issued: Issued, owner: Mapping[str, Any]) -> None:
        files = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": issued.authority}
        data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        if not await self._patch_secret({"metadata": _owned_by(owner), "data": data}):
            secret = {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {
                    "name": self._secret,
                    "labels": {"app.kubernetes.io/managed-by": "sitelog"},
                    **_owned_by(owner),
                },
                "data": data,
            }
            await self._client.create(path("v1", "secrets", self._namespace), secret)

    async def _keep_secret(self, owner: Mapping[str, Any]) -> bool:
        """Bind the Secret to the webhook configuration that is there now; False if it is gone."""
        return await self._patch_secret({"metadata": _owned_by(owner)})

    async def _patch_secret(self, change: Mapping[str, Any]) -> bool:
        try:
            target = path("v1", "secrets", self._namespace, self._secret)
            await self._client.patch(target, change, metadata_only=True)  # its content is not answered
        except NotFoundError:
            return False
        return True


def _owned_by(configuration: Mapping[str, Any]) -> dict[str, Any]:
    metadata = configuration["metadata"]
    owner = {"apiVersion": _CONFIGURATIONS, "kind": "MutatingWebhookConfiguration"}
    return {"ownerReferences": [{**owner, "name": metadata["name"], "uid": metadata["uid"]}]}


def _part_of_lifetime(authority: Authority, part: float) -> datetime:
    return authority.not_before + (authority.not_after - authority.not_before) * part


def _bundle(body: Mapping[str, Any]) -> list[Authority]:
    """Return the CAs that any of the webhooks trusts; all trust the same unless somebody meddled."""
    return list({ca: None for webhook in body.get("webhooks") or () for ca in read_bundle(_encoded(webhook))})


def _serving(body: Mapping[str, Any]) -> Authority | None:
    """Return the CA of the certificate in use; it stands apart from the bundle, which others may wipe."""
    pem = str((body["metadata"].get("annotations") or {}).get(ANNOTATION_SERVING_CA, ""))
    return next(iter(read_bundle(pem.encode())), None)


def _complete(body: Mapping[str, Any], bundle: Sequence[Authority]) -> bool:
    wanted = b"".join(ca.pem for ca in bundle)
    return all(_encoded(webhook) == wanted for webhook in body.get("webhooks") or ())


def _encoded(webhook: Mapping[str, Any]) -> bytes:
    return base64.b64decode((webhook.get("clientConfig") or {}).get("caBundle") or "")
