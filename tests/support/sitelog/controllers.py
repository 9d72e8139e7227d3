"""Controllers of a test's own, which it may kill, in the place of the installed one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.control_plane.api_proxy import ApiProxy
from support.control_plane.control_plane import ControlPlane
from support.sitelog.installation import NAMESPACE, Installation
from support.sitelog.sitelog_process import SitelogProcess
from support.wait import wait_for

# A process that has loaded everything, and begins when it is told to.
WAIT = """
import time, pathlib, sitelog.controller.main
while not pathlib.Path("{go}").exists():
    time.sleep(0.01)
"""


class Controllers:
    """Controllers behind a door to the API server; the next one stands by.

    Attributes
    ----------
    proxy
        The door.
    """

    def __init__(self, control_plane: ControlPlane, proxy: ApiProxy, directory: Path, options: Sequence[str]) -> None:
        self._directory = directory
        self._options = options
        token = control_plane.service_account_token(NAMESPACE, "sitelog-controller")
        self.kubeconfig = proxy.kubeconfig(directory / "kubeconfig", token)
        self.proxy = proxy
        self.running: list[SitelogProcess] = []
        self._count = 0
        self._next, self._go = self._stand_by()

    def start(self) -> SitelogProcess:
        """Start the next one, whether or not another one runs."""
        process, go = self._next, self._go
        self._next, self._go = self._stand_by()
        self.running.append(process)
        go.touch()
        return process

    def start_when(self, change: str) -> None:
        """Start one for which time is different, in the place of those that run."""
        self.close()
        self._next, self._go = self._stand_by(change)
        self.start()

    def kill(self) -> None:
        """Kill all that run."""
        while self.running:
            self.running.pop().kill()

    def close(self) -> None:
        """Kill the one that stands by too."""
        self.kill()
        self._next.kill()

    def _stand_by(self, change: str = "") -> tuple[SitelogProcess, Path]:
        """Give a process, and the file that lets it begin."""
        self._count += 1
        go = self._directory / f"go-{self._count}"
        release = f"sitelog-{NAMESPACE}"
        given = ("--upload-image=none", f"--gate-role={release}-gate", f"--admission-policy-prefix={release}")
        options = (f"--root-namespace={NAMESPACE}", *given, "--sweep-interval=1s", *self._options)
        before = WAIT.format(go=go) + change
        process = SitelogProcess(
            "controller", *options, directory=self._directory, kubeconfig=self.kubeconfig, before=before
        )
        return process, go


@contextmanager
def own_controllers(installation: Installation, directory: Path, *options: str) -> Iterator[Controllers]:
    """Keep the installed controller away, and give others with these options."""
    control_plane = installation.control_plane
    scale = ("scale", "deployment", "sitelog-controller", f"--namespace={NAMESPACE}")
    control_plane.kubectl(*scale, "--replicas=0")
    wait_for(lambda: not installation.pods("controller"), 60, "the installed controller to go")
    try:
        with ApiProxy(control_plane) as proxy:
            controllers = Controllers(control_plane, proxy, directory, options)
            try:
                yield controllers
            finally:
                controllers.close()
    finally:
        control_plane.kubectl(*scale, "--replicas=1")
        control_plane.kubectl("rollout", "status", "deployment/sitelog-controller", f"-n{NAMESPACE}", "--timeout=90s")
