"""The webhook process, put together."""

from typing import Final

from sitelog.core.names import HANDLER_CONFIGMAPS, HANDLER_PODS
from sitelog.decider.door import Decider
from sitelog.kopf_setup.policy_watch import keep_policies
from sitelog.kopf_setup.private import NoMemories
from sitelog.kopf_setup.setup import kopf_settings, new_registry, run_kopf
from sitelog.kube.client import KubeClient
from sitelog.kube.policy_store import PolicyStore
from sitelog.settings import WebhookSettings
from sitelog.telemetry.health import serve_health
from sitelog.telemetry.metrics import POLICIES_SYNCED

from . import large_reviews
from .handlers import register
from .server import AdmissionServer

_PATIENCE_SECONDS: Final = 3.0  # for a decision that takes long, others' before it included; the API server waits five


async def run(settings: WebhookSettings) -> None:
    """Answer admission reviews until told to stop."""
    client = await KubeClient.connect()
    store = PolicyStore(settings.governed)
    POLICIES_SYNCED.set_function(lambda: store.synced_at)
    decider = Decider(large_reviews.__name__, patience=_PATIENCE_SECONDS)
    server = AdmissionServer(
        port=settings.port,
        certificate_dir=settings.certificate_dir,
        handlers=(HANDLER_CONFIGMAPS, HANDLER_PODS),
        large=large_reviews.LargeReviews(decider, store, settings.gate_image).answer,
    )
    registry = new_registry()
    keep_policies(registry, client, store)
    register(registry, decider, store, settings.gate_image)
    operator_settings = kopf_settings()
    operator_settings.admission.server = server
    ready = {"policies": lambda: store.synced, "listening": lambda: server.listening}
    try:
        await decider.start()
        async with serve_health(settings.health_port, ready=ready, alive={}):
            await run_kopf(registry, operator_settings, settings.governed, NoMemories())
    finally:
        decider.close()
        await client.close()
