"""Real admission for the gate, and sites in front of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.control_plane.control_plane import ControlPlane
from support.federation.gate_site import GatedSite, make_site
from support.sitelog.gate_stand_in import StandIn


@pytest.fixture(scope="package")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane of their own: a real Sitelog in it would take away the marks of its stand-in."""
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="package")
def stand_in(control_plane: ControlPlane) -> Iterator[StandIn]:
    """Admission policies of the API server's own, in the place of Sitelog's webhook."""
    with StandIn(control_plane) as ready:
        yield ready


@pytest.fixture
def site(stand_in: StandIn, control_plane: ControlPlane, tmp_path: Path) -> Callable[..., GatedSite]:
    """Make a site in a namespace of the stand-in; its gate connects as the administrator unless told otherwise."""

    def make(namespace: str, *, kubeconfig: Path | None = None, **settings: bool | float) -> GatedSite:
        return make_site(tmp_path, namespace, kubeconfig=kubeconfig or control_plane.kubeconfig, **settings)

    return make
