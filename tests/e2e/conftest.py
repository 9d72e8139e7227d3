"""A real cluster with a federation and Sitelog in it; all of it starts once a run."""

from collections.abc import Callable, Iterator

import pytest

from support.control_plane.api import Json
from support.kind.ending_jobs import EndingJobs
from support.kind.images import provide_images
from support.kind.kind import GIVEN, KEEP, Cluster, running_cluster
from support.kind.site_on_kind import NAMESPACE, Site, deploy, deployed, govern
from support.kind.sitelog_on_kind import SitelogOnKind
from support.kind.witness import Witness
from support.wait import wait_for


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster whose nodes have the images."""
    with running_cluster(failed=lambda: request.session.testsfailed > 0) as running:
        if not GIVEN:
            provide_images()
        yield running


@pytest.fixture(scope="session")
def sitelog(cluster: Cluster) -> Iterator[SitelogOnKind]:
    """Sitelog, installed by helm."""
    installation = SitelogOnKind(cluster)
    installation.install()
    yield installation
    if GIVEN and not KEEP:
        installation.uninstall()


@pytest.fixture(scope="session")
def site(cluster: Cluster, sitelog: SitelogOnKind) -> Iterator[Site]:
    """An FL server and a site whose jobs are pods, under a policy that allows streaming and uploads."""
    running = Site(cluster)
    if not deployed(cluster):
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        cluster.kubectl("create", "namespace", NAMESPACE)
        govern(sitelog)  # before the site: its pods and ConfigMaps are governed from the start
        deploy(cluster, running)
    govern(sitelog)
    running.wait_registered()
    yield running
    running.console.close()
    if GIVEN and not KEEP:
        cluster.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture(scope="session")
def witness(cluster: Cluster) -> Witness:
    """What job pods really wrote."""
    there = Witness(cluster)
    there.deploy()
    return there


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> EndingJobs:
    """Job folders, ready for `site.submit`."""
    return EndingJobs(tmp_path_factory.mktemp("jobs"))


@pytest.fixture
def job_pod(site: Site) -> Callable[[str], Json]:
    """Wait for a job's pod and give it."""

    def wait(job_id: str) -> Json:
        pod = wait_for(lambda: site.job_pod(job_id), 60, f"the pod of job {job_id}", every=0.1)
        assert pod is not None
        return pod

    return wait
