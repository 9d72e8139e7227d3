"""The chart and the CRD on a real API server."""

import copy
import http
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sitelog.core.names import GROUP, KIND, PLURAL, VERSION
from support.control_plane.api import ApiError
from support.control_plane.control_plane import ControlPlane
from support.kubelet.kubelet import PlayedKubelet
from support.wait import wait_for

ROOT = Path(__file__).parents[2]
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sitelogpolicies.sitelog.dev"

# A control plane of their own: these tests say what one release does, and another one in the cluster would join in.


@pytest.fixture(scope="package")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="module")
def kubelet(control_plane: ControlPlane) -> Iterator[PlayedKubelet]:
    """A node, for the tests in whose file Sitelog's pods are to run."""
    with PlayedKubelet(control_plane) as running:
        yield running


Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def chart() -> str:
    return str(ROOT / "charts" / "sitelog")


@pytest.fixture(scope="session")
def crd_file() -> Path:
    return ROOT / "crds" / "sitelogpolicies.sitelog.dev.yaml"


def _established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or ()  # `kubectl wait` fails while there are none
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@pytest.fixture(scope="module")
def crd(control_plane: ControlPlane, crd_file: Path) -> Iterator[dict[str, Any]]:
    """The CRD as the API server keeps it; removed after the module's tests where it was not there before."""
    was_there = control_plane.exists(CRD_PATH)
    if not was_there:
        control_plane.kubectl("create", "-f", str(crd_file))
    wait_for(lambda: _established(control_plane.api.get(CRD_PATH)), 60, "the CRD to be established")
    yield control_plane.api.get(CRD_PATH)
    if not was_there:
        control_plane.kubectl("delete", "-f", str(crd_file))


@pytest.fixture
def loosen_schema(
    control_plane: ControlPlane, crd: dict[str, Any], crd_file: Path
) -> Callable[[], AbstractContextManager[None]]:
    """Let the API server take policies with any spec meanwhile, as before the schema knew better."""
    versions = yaml.safe_load(crd_file.read_text())["spec"]["versions"]
    loose = copy.deepcopy(versions)
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    loose[0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = anything

    def takes_anything() -> bool | None:
        """None: it has no answer, as it is just changing from one schema to the other."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}?dryRun=All"
        body = {"metadata": {"name": "loose"}, "spec": {"priority": "high"}}
        try:
            control_plane.api.create(path, {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, **body})
        except ApiError as error:
            if error.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
                return None
            if error.status != http.HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            return False
        return True

    @contextmanager
    def loosened() -> Iterator[None]:
        control_plane.api.patch(CRD_PATH, {"spec": {"versions": loose}})
        try:
            wait_for(takes_anything, 60, "the API server to go by the loose schema")
            yield
        finally:
            control_plane.api.patch(CRD_PATH, {"spec": {"versions": versions}})
            wait_for(lambda: takes_anything() is False, 60, "the API server to go by the schema of now")

    return loosened


@pytest.fixture(scope="package")
def render(control_plane: ControlPlane, chart: str) -> Render:
    """Render the chart: `render("a.b=c", ...)` gives its objects, the hooks of `helm test` too."""

    def render(*values: str, release: str = "sitelog") -> list[dict[str, Any]]:
        text = control_plane.helm(
            "template", release, chart, "--namespace=sitelog-system", *(f"--set-json={value}" for value in values)
        )
        return [document for document in yaml.safe_load_all(text) if document]

    return render


@pytest.fixture
def release_namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace that admits restricted pods only; the test's releases in it are uninstalled before it goes."""
    name = f"release-{secrets.token_hex(4)}"
    control_plane.kubectl("create", "namespace", name)
    control_plane.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    for release in control_plane.helm("list", "--short", f"--namespace={name}").split():
        # No node runs the Job of the hook.
        control_plane.helm("uninstall", release, f"--namespace={name}", "--wait", "--no-hooks")
    control_plane.kubectl("delete", "namespace", name, "--wait=false")
