"""The controller process, put together."""

import asyncio
import resource
from typing import Final

from sitelog.controller.certificates.reconciler import CertificateReconciler
from sitelog.controller.configmaps.reconciler import ConfigMapReconciler
from sitelog.controller.errorlogs.reconciler import ErrorLogReconciler
from sitelog.controller.errorlogs.records import Records
from sitelog.controller.errorlogs.unlabelled_pods import UnlabelledPods
from sitelog.controller.errorlogs.upload_jobs import UploadJobs
from sitelog.controller.gate.reconciler import GateReconciler
from sitelog.controller.policies.bindings import BindingReconciler
from sitelog.controller.policies.enforcement import Enforcement
from sitelog.controller.policies.status import PolicyStatus
from sitelog.controller.policies.still_streaming import StillStreaming
from sitelog.controller.policies.totals import Pending
from sitelog.decider.door import Decider
from sitelog.kopf_setup.policy_watch import keep_policies
from sitelog.kopf_setup.setup import kopf_settings, new_registry, run_kopf
from sitelog.kube.client import KubeClient
from sitelog.kube.policy_list import sync_policies
from sitelog.kube.policy_store import PolicyStore
from sitelog.settings import ControllerSettings
from sitelog.telemetry.health import serve_health
from sitelog.telemetry.metrics import POLICIES_SYNCED

from .handlers import SELECTORS, register
from .loop import Reconcile, ReconcileLoop

_FILES: Final = 16_384  # open at a time: each followed log takes a connection and, if it is not short, a file
_LINGER: Final = 2.0  # rounds, after which no controller goes by what it saw before
_STUCK_SECONDS: Final = 300.0  # without a full round, after which the process is better started anew

_PROMPT = frozenset({"configmaps", "upload Jobs", "status"})  # reconciled when something triggers the loop, too


async def run(settings: ControllerSettings) -> None:
    """Keep everything in line until told to stop."""
    _raise_file_limit()
    client = await KubeClient.connect()
    store = PolicyStore(settings.governed)
    POLICIES_SYNCED.set_function(lambda: store.synced_at)
    records = Records(client)
    uploads = UploadJobs(client, store, records, at_once=settings.max_uploads)
    error_logs = ErrorLogReconciler(client, store, uploads, records, settings.upload_image)
    gates = GateReconciler(client, store, role=settings.gate_role)
    decider = Decider()
    loop = _loop(settings, client, store, decider, error_logs, uploads, gates)
    enforcement = _enforcement(settings, client, store)
    registry = new_registry()
    keep_policies(registry, client, store, changed=(loop.trigger, enforcement.trigger))
    register(registry, error_logs, loop)
    operator_settings = kopf_settings()
    for kind, selector in SELECTORS.items():
        operator_settings.watching.label_selectors[kind] = selector
    # The last controller ends when this one is ready: then it follows every job that runs.
    ready = {"policies": lambda: store.synced, "first round": lambda: loop.swept}
    alive = {"sweeping": lambda: loop.age < _STUCK_SECONDS + settings.sweep_interval}
    try:
        async with serve_health(settings.health_port, ready=ready, alive=alive), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_when_synced(client, store, run)) for run in (enforcement.run, loop.run, gates.follow)
            ]
            await run_kopf(registry, operator_settings, settings.governed)
            for task in running:
                task.cancel()
    finally:
        decider.close()
        await client.close()


def _raise_file_limit() -> None:
    """Many container runtimes give 1,024, and more to whoever asks."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _when_synced(client: KubeClient, store: PolicyStore, run: Reconcile) -> None:
    await sync_policies(client, store)
    await run()


def _enforcement(settings: ControllerSettings, client: KubeClient, store: PolicyStore) -> Enforcement:
    bindings = BindingReconciler(client, store, settings.admission_policy_prefix)
    return Enforcement(client, bindings, interval=settings.sweep_interval)


def _loop(
    settings: ControllerSettings,
    client: KubeClient,
    store: PolicyStore,
    decider: Decider,
    error_logs: ErrorLogReconciler,
    uploads: UploadJobs,
    gates: GateReconciler,
) -> ReconcileLoop:
    configmaps = ConfigMapReconciler(client, store, decider, retention=settings.published_retention, pod=settings.pod)
    still_streaming = StillStreaming(client, store)
    pending = Pending(_LINGER * settings.sweep_interval)
    status = PolicyStatus(client, store, pending)

    async def tell() -> None:
        if not configmaps.behind:  # else the change asks for another round at once
            await status.reconcile(
                lambda: error_logs.unmarked | uploads.unmarked,
                still_streaming.unstopped,
                gates.missing,
                configmaps.would_be,
            )

    reconcilers: dict[str, Reconcile] = {}
    if settings.certificate_secret:
        reconcilers["certificate"] = CertificateReconciler(
            client,
            namespace=settings.governed.root,
            secret=settings.certificate_secret,
            configuration=settings.webhook_configuration,
            hosts=settings.webhook_hosts,
            lifetime=settings.certificate_lifetime,
        ).reconcile
    reconcilers |= {
        "configmaps": configmaps.reconcile,
        "gates": gates.reconcile,
        "unseen job pods": UnlabelledPods(client, store).reconcile,
        "pods": error_logs.reconcile_pods,
        "upload Jobs": uploads.reconcile,
        "job pods that stream": still_streaming.reconcile,
        "status": tell,
        "expired ConfigMaps": configmaps.remove_expired,
    }
    return ReconcileLoop(reconcilers, _PROMPT, settings.sweep_interval)
