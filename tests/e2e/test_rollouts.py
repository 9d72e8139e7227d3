"""Whatever is restarted, scaled, upgraded or renewed beside a load: nothing is refused, unmutated or lost."""

import secrets
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from sitelog.core.names import ANNOTATION_SERVING_CA
from support.commands import run, say
from support.control_plane.api import ApiError
from support.kind.bare_pods import BarePods
from support.kind.chaos import Chaos, End, Kind, again, table
from support.kind.kind import GIVEN, NAME, Cluster
from support.kind.site_on_kind import Site
from support.kind.sitelog_on_kind import SitelogOnKind
from support.kind.witness import Witness
from support.sitelog.installation import NAMESPACE as RELEASE
from support.sitelog.load import Load
from support.wait import wait_for

WEBHOOK, CONTROLLER = "deployment/sitelog-webhook", "deployment/sitelog-controller"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sitelog-sitelog-system"
LIFETIME = "40s"
RESTARTED = Kind("node restarted", "never", "Error|Signalled|NodeLost")


class Rollouts:
    """Changes Sitelog while the load goes on, and looks at what that was answered."""

    def __init__(self, cluster: Cluster, load: Load) -> None:
        self._cluster = cluster
        self._load = load

    def kubectl(self, *arguments: str) -> None:
        self._cluster.kubectl(*arguments, f"--namespace={RELEASE}")

    def check(self) -> None:
        """Wait until there is what there should be, and look; pods of before may end beside what comes next."""
        for deployment in (WEBHOOK, CONTROLLER):
            self.kubectl("rollout", "status", deployment, "--timeout=120s")
        self.wait_answers()
        assert "\n".join(self._load.wrong) == ""
        assert "\n".join(self._load.unanswered) == ""

    def wait_rest(self) -> None:
        """Wait until the pods of before have ended."""
        wait_for(lambda: not self._ending(), 60, "the pods of before to end", every=0.5)

    def wait_answers(self) -> None:
        """Wait until some objects were stored without any trouble in between."""
        before: tuple[int, int] = (-1, 0)

        def more() -> bool:
            nonlocal before
            self._load.check_running()
            unanswered, stored = len(self._load.unanswered), self._load.stored
            if unanswered != before[0]:
                before = (unanswered, stored)
            return stored > before[1] + 10

        wait_for(more, 120, "objects to be stored one after the other", every=0.1)

    def _ending(self) -> list[str]:
        pods = self._cluster.api.get(f"/api/v1/namespaces/{RELEASE}/pods")["items"]
        return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]


@pytest.fixture(scope="module")
def chaos(cluster: Cluster, site: Site, witness: Witness, bare: BarePods) -> Chaos:
    return Chaos(cluster, site, witness, bare, seed=1)


@pytest.fixture(scope="module")
def bare(site: Site, tmp_path_factory: pytest.TempPathFactory) -> BarePods:
    return BarePods(site, tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def load(cluster: Cluster, sitelog: SitelogOnKind, site: Site, chaos: Chaos, bare: BarePods) -> Iterator[Load]:
    """One load beside all of these tests, and between them."""
    assert sitelog.pods("webhook")
    with Load(cluster, site, chaos, bare) as load:
        yield load


@pytest.fixture(scope="module")
def rollouts(cluster: Cluster, load: Load) -> Rollouts:
    return Rollouts(cluster, load)


class Renewals:
    """Keeps an account of the webhook's certificates, and lets the kubelet bring each to the pods at once."""

    def __init__(self, cluster: Cluster, sitelog: SitelogOnKind) -> None:
        self._cluster, self._sitelog = cluster, sitelog
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seen: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.5):
            serving = again(lambda: self._cluster.api.get(CONFIGURATION))["metadata"]["annotations"][
                ANNOTATION_SERVING_CA
            ]
            if serving not in self.seen:
                self.seen.append(serving)
            # It looks after a pod that changes, and after others once a minute: longer than these certificates live.
            number += 1
            for pod in again(lambda: self._sitelog.pods("webhook")):
                path = f"/api/v1/namespaces/{RELEASE}/pods/{pod['metadata']['name']}"
                touched = {"metadata": {"annotations": {"touched": str(number)}}}
                try:
                    again(lambda: self._cluster.api.patch(path, touched))  # noqa: B023 - at once
                except ApiError as error:
                    if error.status != 404:
                        raise


@pytest.fixture(scope="module")
def renewals(cluster: Cluster, sitelog: SitelogOnKind, rollouts: Rollouts) -> Iterator[Renewals]:
    """An upgrade by which certificates live for seconds from now on."""
    with Renewals(cluster, sitelog) as renewals:
        wait_for(lambda: renewals.seen, 30, "the certificate of before")
        sitelog.install(**{"webhook.certificate.lifetime": LIFETIME, "controller.sweepInterval": "1s"})
        rollouts.check()
        yield renewals


@pytest.mark.skipif(bool(GIVEN), reason="the API server of KUBECONFIG is somebody else's")
def test_the_api_server_is_restarted(load: Load, rollouts: Rollouts) -> None:
    rollouts.wait_answers()
    on_the_node = ("docker", "exec", f"{NAME}-control-plane")
    (before,) = run(*on_the_node, "pidof", "kube-apiserver").split()
    run(*on_the_node, "kill", "-KILL", before)
    rollouts.wait_answers()
    (after,) = run(*on_the_node, "pidof", "kube-apiserver").split()
    assert before != after
    say(f"{len(load.unanswered)} requests found no API server")
    load.unanswered.clear()
    rollouts.check()


@pytest.mark.usefixtures("renewals")
def test_both_deployments_are_restarted(rollouts: Rollouts) -> None:
    rollouts.kubectl("rollout", "restart", WEBHOOK, CONTROLLER)
    rollouts.check()


@pytest.mark.usefixtures("renewals")
def test_the_webhook_is_scaled(rollouts: Rollouts) -> None:
    for replicas in (3, 1, 3, 2):
        rollouts.kubectl("scale", WEBHOOK, f"--replicas={replicas}")
        rollouts.check()


def test_certificates_live_for_seconds(renewals: Renewals, rollouts: Rollouts) -> None:
    wait_for(lambda: len(renewals.seen) > 3, 150, "three renewals", every=0.5)
    rollouts.check()


def test_a_release_is_upgraded(sitelog: SitelogOnKind, rollouts: Rollouts) -> None:
    sitelog.install()
    rollouts.check()


def test_no_error_log_of_that_time_was_lost(load: Load, chaos: Chaos, rollouts: Rollouts) -> None:
    rollouts.wait_rest()
    rollouts.check()
    ends = load.ends()
    assert len(ends) > 1
    chaos.settle(ends, say)
    say(f"{load.stored} answers\n{table(ends)}")
    assert load.wrong == []
    assert [(end.kind.name, end.job_id, end.wrote, end.stored) for end in ends if end.verdict == "LOST"] == []
    assert [end.job_id for end in ends if end.doubled or end.strangers] == []


@pytest.mark.skipif(bool(GIVEN), reason="the node is somebody else's")
def test_the_node_is_restarted(cluster: Cluster, chaos: Chaos, bare: BarePods, witness: Witness) -> None:
    """With all that runs on it: the jobs, Sitelog, the API server."""
    bare.prepare()
    ends = []
    for number in range(3):
        job_id = bare.job(f"node-{secrets.token_hex(3)}-{number}")
        pod = bare.create(f"node-{job_id}", job_id, RESTARTED.ending, errors=RESTARTED.errors, end_at=0)
        ends.append(End(RESTARTED, job_id, pod))
    for end in ends:
        wait_for(lambda: witness.wrote(end.pod["metadata"]["uid"]), 60, f"{end.name} to write", every=0.5)  # noqa: B023
    run("docker", "restart", "--time=0", f"{NAME}-control-plane")
    for deployment in (WEBHOOK, CONTROLLER):
        again(lambda: cluster.kubectl("rollout", "status", deployment, f"--namespace={RELEASE}", "--timeout=90s"))  # noqa: B023
    chaos.settle(ends, say)
    say(table(ends))
    assert [(end.wrote, end.stored) for end in ends if end.verdict == "LOST"] == []
    assert [end.job_id for end in ends if end.doubled or end.strangers] == []
