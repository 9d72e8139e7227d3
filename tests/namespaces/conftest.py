"""A control plane of their own: these tests install Sitelog for some namespaces alone, and install it again."""

from collections.abc import Iterator

import pytest

from support.control_plane.control_plane import ControlPlane
from support.kubelet.kubelet import PlayedKubelet


@pytest.fixture(scope="package")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="package")
def kubelet(control_plane: ControlPlane) -> Iterator[PlayedKubelet]:
    with PlayedKubelet(control_plane) as running:
        yield running
