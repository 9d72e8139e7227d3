"""The control plane's programs, built from pinned Go modules and kept in the user's cache.

Versions and checksums stand in tests/tools/go.mod and go.sum. Where KUBEBUILDER_ASSETS names a folder, what it has is
used and only the rest is built. `python tests/support/control_plane/binaries.py` builds and prints the folder.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "tools"
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "helm": "helm.sh/helm/v4/cmd/helm",
}
# Cold, on two cores; most of the API server's time is compiling what the others share.
TYPICAL_SECONDS = {
    "etcd": 50,
    "kube-apiserver": 290,
    "kube-controller-manager": 90,
    "kubectl": 25,
    "helm": 25,
}
PROGRESS_EVERY = 20.0


class ToolsError(RuntimeError):
    """The programs cannot be built here; the message says what to do."""


def kubernetes_version() -> str:
    """Kubernetes version pinned in go.mod, for instance "v1.37.2"."""
    return _pinned(r"^\s*k8s\.io/kubernetes (v\S+)", "k8s.io/kubernetes")


def tools_folder() -> Path:
    """Folder that has all five programs; builds what is missing.

    Raises
    ------
    ToolsError
        Go is missing or too old, or a build failed.
    """
    folder = _cache() / _fingerprint()
    if _missing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            _provide(folder)
    return folder


def _provide(folder: Path) -> None:
    """Link what KUBEBUILDER_ASSETS has and build the rest; the caller holds the folder's lock."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    for name in _missing(folder):
        if given and (Path(given) / name).is_file():
            _replace_by_link(folder / name, (Path(given) / name).resolve())
    missing = _missing(folder)
    if not missing:
        return
    _require_go()
    _say(f"Building {', '.join(missing)} into {folder} (once; needs about 3 GB of memory)")
    for number, name in enumerate(missing, start=1):
        _build(folder, name, f"[{number}/{len(missing)}] {name}")


def _build(folder: Path, name: str, label: str) -> None:
    minutes = TYPICAL_SECONDS[name] / 60
    typical = f"{minutes:.0f} minutes" if minutes >= 2 else f"{TYPICAL_SECONDS[name]} seconds"
    _say(f"{label}: building, about {typical} on 2 cores the first time ...")
    unfinished = folder / f".{name}.unfinished"
    log = folder / f".{name}.log"
    command = ["go", "build", "-trimpath", "-ldflags", _link_flags(), "-o", str(unfinished), PACKAGES[name]]
    started = time.monotonic()
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=MODULE, env=_go_environment(), stdout=output, stderr=output) as build,
    ):
        try:
            while not _ended_within(build, PROGRESS_EVERY):
                _say(f"{label}: still building, {time.monotonic() - started:.0f} s{_downloads(log)}")
        except BaseException:
            build.terminate()
            raise
    if build.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise ToolsError(f"{name} did not build ({' '.join(command)} in {MODULE}):\n{tail}")
    unfinished.rename(folder / name)
    log.unlink()
    _say(f"{label}: done after {time.monotonic() - started:.0f} s")


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _downloads(log: Path) -> str:
    count = log.read_bytes().count(b"go: downloading ")
    return f", {count} modules fetched" if count else ""


def _require_go() -> None:
    if shutil.which("go") is None:
        raise ToolsError(
            f"The control plane is built from Go modules, and there is no `go` on PATH. Install Go {_wanted_go()} or "
            "newer (https://go.dev/dl/), or set KUBEBUILDER_ASSETS to a folder that has " + ", ".join(PACKAGES)
        )
    answer = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=MODULE, env=_go_environment(), capture_output=True, text=True, check=False
    )
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    wanted = tuple(int(part) for part in _wanted_go().split(".")[:2])
    if answer.returncode != 0 or found is None or (int(found[1]), int(found[2])) < wanted:
        raise ToolsError(
            f"The control plane needs Go {_wanted_go()} or newer, {shutil.which('go')} says: "
            f"{(answer.stderr or answer.stdout).strip()}. Install it from https://go.dev/dl/"
        )


def _wanted_go() -> str:
    return _pinned(r"^go (\S+)", "go")


def _pinned(pattern: str, what: str) -> str:
    found = re.search(pattern, (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ToolsError(f"{MODULE / 'go.mod'} names no version of {what}")
    return found[1]


def _link_flags() -> str:
    version = kubernetes_version()
    major, minor = version.removeprefix("v").split(".")[:2]
    package = "k8s.io/component-base/version"
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X {package}.{name}={value}" for name, value in values.items())


def _go_environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0"}


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "sitelog" / "tools"


def _fingerprint() -> str:
    """Hash of everything that decides what stands in the folder."""
    given = os.environ.get("KUBEBUILDER_ASSETS", "")
    parts = [
        (MODULE / "go.mod").read_bytes(),
        (MODULE / "go.sum").read_bytes(),
        f"{_link_flags()} {platform.system()} {platform.machine()} {given}".encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _missing(folder: Path) -> list[str]:
    return [name for name in PACKAGES if not (folder / name).is_file()]


def _replace_by_link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)  # a link whose target has gone
    link.symlink_to(target)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process, so that two runs do not build the same thing twice."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another run is building the control plane's programs; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        print(tools_folder())
    except ToolsError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
