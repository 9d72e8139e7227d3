"""The controller as a process of the machine."""

import re
from pathlib import Path

from support.control_plane.control_plane import ControlPlane
from support.sitelog.installation import NAMESPACE, Installation
from support.sitelog.sitelog_process import SitelogProcess

FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))"


def test_it_may_open_as_many_files_as_the_runtime_allows(
    control_plane: ControlPlane, installation: Installation, tmp_path: Path
) -> None:
    """Each followed log takes one or two; runtimes allow 1,024 unless they are asked for more."""
    options = (f"--root-namespace={NAMESPACE}", "--upload-image=none", "--gate-role=none", "--sweep-interval=300s")
    options += (f"--admission-policy-prefix=sitelog-{NAMESPACE}",)
    kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, "sitelog-controller")
    with SitelogProcess(
        "controller", *options, directory=tmp_path, kubeconfig=kubeconfig, before=FEW_FILES
    ) as controller:
        controller.ready()
        limits = Path(f"/proc/{controller.pid}/limits").read_text()
    assert re.search(r"^Max open files +4096 +4096 ", limits, re.MULTILINE)
