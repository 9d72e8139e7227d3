"""Fixtures that more than one room's tests use. The real parts behind them start once a run."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sitelog.kube.client import KubeClient
from support.control_plane.api import ApiError
from support.control_plane.control_plane import ControlPlane
from support.federation.fixtures import federation  # noqa: F401 - a fixture
from support.inputs import hypothesis_profiles
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.installation import Installation
from support.wait import wait_for

hypothesis_profiles.register()

_OWN_CONTROL_PLANE = ("tests/chart", "tests/gate")
_LONGEST = {"chart", "controller", "demo", "gate", "locks", "namespaces", "restarts", "test_seed.py", "uploader"}


class _Together(LoadScopeScheduling):
    """Gives each file to one process, and those files together that share a control plane of their own."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder in _OWN_CONTROL_PLANE else file


@pytest.hookimpl(optionalhook=True)  # nobody asks where the tests run in one process, without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Say what runs together."""
    return _Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process waits for another one at the end."""
    items.sort(key=lambda item: _LONGEST.isdisjoint((item.path.parent.name, item.path.name)))


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """Real etcd, kube-apiserver and kube-controller-manager."""
    with ControlPlane() as running:
        yield running


@pytest.fixture
async def client(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeClient]:
    """Our client, as the control plane's administrator."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    client = await KubeClient.connect()
    yield client
    await client.close()


@pytest.fixture(scope="session")
def kubelet(control_plane: ControlPlane) -> Iterator[PlayedKubelet]:
    """One node, on which Sitelog's own pods run and a test plays the others."""
    with PlayedKubelet(control_plane) as running:
        yield running


@pytest.fixture(scope="session")
def installation(control_plane: ControlPlane, kubelet: PlayedKubelet) -> Iterator[Installation]:
    """Sitelog installed by helm, its webhook and controller running."""
    with Installation(control_plane, kubelet) as running:
        yield running


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """Name of a fresh namespace in which pods can be created; deleted in the background afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    control_plane.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    wait_for(
        lambda: control_plane.exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"),
        deadline=60,
        what=f"the default service account of {name}",
    )
    yield name
    with contextlib.suppress(ApiError):
        control_plane.api.delete(f"/api/v1/namespaces/{name}")
