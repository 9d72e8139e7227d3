"""The chart on an API server without nodes: nobody is behind the webhook's address, and controllers run beside."""

import json
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from sitelog.core.names import GROUP, KIND, PLURAL, VERSION
from support.control_plane.api import Json
from support.control_plane.control_plane import ControlPlane
from support.control_plane.process import free_port
from support.sitelog.enforced import enforced, goes_by
from support.sitelog.installation import CHART
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for


class ChartAlone:
    """Context manager: one release, and what tests do with it.

    Attributes
    ----------
    namespace
        The release's.
    prefix
        With what the names of its cluster-scoped objects begin.
    """

    def __init__(self, control_plane: ControlPlane, *values: str) -> None:
        self.control_plane = control_plane
        self.api = control_plane.api
        self.namespace = f"release-{secrets.token_hex(4)}"
        self.prefix = f"sitelog-{self.namespace}"
        self._values = values
        self._folder = TemporaryDirectory(prefix="sitelog-controllers-")
        self.controllers: list[SitelogProcess] = []

    def __enter__(self) -> Self:
        url = json.dumps(f"https://127.0.0.1:{free_port()}")
        values = [f"--set-json={value}" for value in (f"webhook.url={url}", *self._values)]
        here = f"--namespace={self.namespace}"
        self.control_plane.helm("install", "sitelog", str(CHART), here, "--create-namespace", *values)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_controllers()
        self.control_plane.helm("uninstall", "sitelog", f"--namespace={self.namespace}", "--wait", "--no-hooks")
        self.control_plane.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self._folder.cleanup()

    def start_controller(self) -> SitelogProcess:
        """Start one more controller, and wait until it is ready."""
        name = f"controller-{len(self.controllers)}"
        directory = Path(self._folder.name, name)
        directory.mkdir(exist_ok=True)
        given = (
            f"--root-namespace={self.namespace}",
            f"--excluded-namespace={self.namespace}",
            "--excluded-namespace=kube-system",
            f"--admission-policy-prefix={self.prefix}",
            f"--gate-role={self.prefix}-gate",
            "--upload-image=none",
            "--sweep-interval=1s",
        )
        process = SitelogProcess("controller", *given, directory=directory, kubeconfig=self.controllers_kubeconfig())
        self.controllers.append(process)
        return process.ready()

    def stop_controllers(self) -> None:
        """Kill all of them."""
        while self.controllers:
            self.controllers.pop().kill()

    def controllers_kubeconfig(self) -> Path:
        """Identity of the controller."""
        return self.control_plane.service_account_kubeconfig(self.namespace, "sitelog-controller")

    def policy(self, namespace: str, name: str = "site", **spec: Any) -> None:
        """Apply a policy."""
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        self.api.apply(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}", body)

    def wait_enforced(self, namespace: str, name: str = "site") -> None:
        """Wait as a person does."""
        wanted = ("--for=condition=Enforced", "--timeout=90s")
        self.control_plane.kubectl("wait", f"slp/{name}", f"--namespace={namespace}", *wanted)

    def wait_settled(self, namespace: str, name: str = "site") -> str:
        """Wait until the API server has been seen to go by a policy, whatever it says; give the condition's reason."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"
        policy = wait_for(lambda: goes_by(now := self.api.get(path)) and now, 60, f"the API server to go by {name}")
        return str(enforced(policy)["reason"])

    def bindings(self) -> dict[str, Json]:
        """The release's bindings that the controllers keep, by name."""
        base = "/apis/admissionregistration.k8s.io/v1"
        kinds = ("validatingadmissionpolicybindings", "mutatingadmissionpolicybindings")
        found = [body for kind in kinds for body in self.api.get(f"{base}/{kind}")["items"]]
        return {
            name: body for body in found if (name := body["metadata"]["name"]).startswith(self.prefix) and "." in name
        }
