"""Job pods that a test plays by hand, and an uploader that needs no FL server."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.federation.stand_in_uploader import StandInUploader
from support.kubelet.kubelet import PlayedKubelet
from support.pods.job_pods import JobPods
from support.sitelog.controllers import Controllers, own_controllers
from support.sitelog.installation import Installation
from support.sitelog.sitelog_process import SitelogProcess


@pytest.fixture(scope="module")
def uploader(tmp_path_factory: pytest.TempPathFactory) -> StandInUploader:
    return StandInUploader(tmp_path_factory.mktemp("uploader"))


@pytest.fixture
def pods(kubelet: PlayedKubelet, namespace: str) -> JobPods:
    return JobPods(kubelet, namespace)


@pytest.fixture
def spec(uploader: StandInUploader) -> dict[str, Any]:
    """A policy under which error logs go to the stand-in."""
    error_log = {
        "upload": "Enabled",
        "courierSecretName": "courier",
        "image": uploader.image,
        "capture": "ContainerLog",
    }
    return {"clientName": "site-1", "errorLog": error_log}


@pytest.fixture(scope="module")
def controllers(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controllers]:
    """Controllers that a test may kill, in the place of the installed one."""
    with own_controllers(installation, tmp_path_factory.mktemp("controllers")) as controllers:
        yield controllers


@pytest.fixture
def controller(controllers: Controllers) -> Iterator[SitelogProcess]:
    """One of them, running: the one of the test before, unless that killed it."""
    yield controllers.running[0] if controllers.running else controllers.start()
    if len(controllers.running) > 1:
        controllers.kill()
