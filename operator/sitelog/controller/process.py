"""The controller process, put together."""

import asyncio
import resource
from typing import Final

from sitelog.decider.door import Decider
from sitelog.kube.client import KubeClient
from sitelog.kube.policy_store import PolicyStore
from sitelog.kube.watching import keep_policies, kopf_settings, new_registry, run_kopf, sync_policies
from sitelog.settings import ControllerSettings
from sitelog.telemetry.health import serve_health
from sitelog.telemetry.metrics import POLICIES_SYNCED

from .adoption import Adoption
from .alignment import Alignment
from .bindings import Bindings
from .certificates import Certificates
from .enforcement import Enforcement
from .error_logs import ErrorLogs
from .gates import Gates
from .handlers import SELECTORS, register
from .ledger import Pending
from .records import Records
from .revocation import Revocation
from .status import StatusKeeper
from .sweeper import Look, Sweeper
from .uploads import Uploads

_FILES: Final = 16_384  # open at a time: each followed log takes a connection and, if it is not short, a file
_LINGER: Final = 2.0  # rounds, after which no controller goes by what it saw before
_STUCK = 300.0  # seconds without a full round, after which the process is better started anew

_PROMPT = frozenset({"alignment", "upload Jobs", "status"})  # looked at when something happened, too


async def run(settings: ControllerSettings) -> None:
    """Keep everything in line until told to stop."""
    _raise_file_limit()
    client = await KubeClient.connect()
    store = PolicyStore(settings.governed)
    POLICIES_SYNCED.set_function(lambda: store.synced_at)
    records = Records(client)
    uploads = Uploads(client, store, records, at_once=settings.max_uploads)
    error_logs = ErrorLogs(client, store, uploads, records, settings.upload_image)
    gates = Gates(client, store, role=settings.gate_role)
    decider = Decider()
    sweeper = _sweeper(settings, client, store, decider, error_logs, uploads, gates)
    enforcement = _enforcement(settings, client, store)
    registry = new_registry()
    keep_policies(registry, client, store, changed=(sweeper.happened, enforcement.happened))
    register(registry, error_logs, sweeper)
    operator_settings = kopf_settings()
    for kind, selector in SELECTORS.items():
        operator_settings.watching.label_selectors[kind] = selector
    # The last controller ends when this one is ready: then it follows every job that runs.
    ready = {"policies": lambda: store.synced, "first round": lambda: sweeper.swept}
    alive = {"sweeping": lambda: sweeper.age < _STUCK + settings.sweep_interval}
    try:
        async with serve_health(settings.health_port, ready=ready, alive=alive), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_when_synced(client, store, run))
                for run in (enforcement.run, sweeper.run, gates.follow)
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


async def _when_synced(client: KubeClient, store: PolicyStore, run: Look) -> None:
    await sync_policies(client, store)
    await run()


def _enforcement(settings: ControllerSettings, client: KubeClient, store: PolicyStore) -> Enforcement:
    bindings = Bindings(client, store, settings.admission_policy_prefix)
    return Enforcement(client, bindings, interval=settings.sweep_interval)


def _sweeper(
    settings: ControllerSettings,
    client: KubeClient,
    store: PolicyStore,
    decider: Decider,
    error_logs: ErrorLogs,
    uploads: Uploads,
    gates: Gates,
) -> Sweeper:
    alignment = Alignment(client, store, decider, retention=settings.published_retention, pod=settings.pod)
    revocation = Revocation(client, store)
    pending = Pending(_LINGER * settings.sweep_interval)
    status = StatusKeeper(client, store, pending)

    async def tell() -> None:
        if not alignment.behind:  # else the change asks for another round at once
            await status.look(
                lambda: error_logs.unmarked | uploads.unmarked, revocation.unstopped, gates.missing, alignment.would_be
            )

    looks: dict[str, Look] = {}
    if settings.certificate_secret:
        looks["certificate"] = Certificates(
            client,
            namespace=settings.governed.root,
            secret=settings.certificate_secret,
            configuration=settings.webhook_configuration,
            hosts=settings.webhook_hosts,
            lifetime=settings.certificate_lifetime,
        ).look
    looks |= {
        "alignment": alignment.look,
        "gates": gates.look,
        "unseen job pods": Adoption(client, store).look,
        "pods": error_logs.look_at_pods,
        "upload Jobs": uploads.look,
        "job pods that stream": revocation.look,
        "status": tell,
        "expired ConfigMaps": alignment.remove_expired,
    }
    return Sweeper(looks, _PROMPT, settings.sweep_interval)
