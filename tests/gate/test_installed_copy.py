"""The folder that `sitelog install-gate` makes, run by a Python that does not have this project."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import nvflare
import pytest

from sitelog.core.names import CLIENT_MODULE

PACKAGES = Path(nvflare.__file__).parents[1]
INSTALL = "import os; os.umask(0o077); from sitelog.cli import main; main()"


def install(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", INSTALL, "install-gate", str(folder)], check=True, timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("volume") / "gate"
    install(made)
    return made


def run(*arguments: str, first: str = "", **env: str) -> tuple[int, str, str]:
    """Run a Python that finds installed packages (the folder `first` before them), but none that is only linked."""
    path = os.pathsep.join(filter(None, (first, str(PACKAGES))))
    environment = {**os.environ, "PYTHONPATH": path, "SITELOG_GATE_NAMESPACE": "any", **env}
    command = [sys.executable, "-S", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def without_kubernetes(directory: Path) -> str:
    (directory / "kubernetes.py").write_text("raise ImportError('no kubernetes in this image')\n")
    return str(directory)


def test_a_python_without_the_project_runs_it_as_client_train(folder: Path) -> None:
    code, _, error = run("-c", "import sitelog")
    assert (code, "No module named 'sitelog'" in error) == (1, True)
    for arguments in (["--help"], ["--no-such-option"]):
        assert run(str(folder), *arguments) == run("-m", CLIENT_MODULE, *arguments)
    code, _, error = run(str(folder), "--help", SITELOG_GATE_FAILURE_POLICY="Maybe")
    assert (code, error) == (1, "sitelog.gate: SITELOG_GATE_FAILURE_POLICY is 'Maybe': it must be Fail or Ignore\n")


def test_it_needs_no_variable_of_pythons(folder: Path) -> None:
    command = [sys.executable, "-I", str(folder), "--help"]  # -I: they are not read at all
    environment = {**os.environ, "SITELOG_GATE_NAMESPACE": "any"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert (done.returncode, "usage: client_train.py" in done.stdout) == (0, True), done.stderr


def test_the_working_directory_is_looked_through_first_as_with_a_module(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "nvflare.py").write_text("import sys; print(sys.path[0]); sys.exit(3)\n")
    command = [sys.executable, "-S", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, f"{tmp_path}\n"), done.stderr


def test_any_user_may_read_it_and_it_can_be_made_again(folder: Path) -> None:
    (folder / "sitelog" / "core" / "names.py").write_text("broken")
    install(folder)
    assert run(str(folder), "--help")[0] == 0
    for path in folder.rglob("*"):
        expected = 0o755 if path.is_dir() else 0o644
        if path.name != "__pycache__" and path.parent.name != "__pycache__":
            assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_an_image_that_has_not_what_the_gate_needs(folder: Path, tmp_path: Path) -> None:
    first = without_kubernetes(tmp_path)
    code, out, error = run(str(folder), "--help", first=first, SITELOG_GATE_FAILURE_POLICY="Ignore")
    assert (code, "usage: client_train.py" in out) == (0, True)
    assert "the client runs without it, as SITELOG_GATE_FAILURE_POLICY is Ignore" in error
    code, out, error = run(str(folder), "--help", first=first)
    assert (code, out) == (1, "")
    assert error == (
        "sitelog.gate: this image has not what the gate needs (no kubernetes in this image): install the kubernetes"
        " package in it\n"
    )


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-c", INSTALL, "install-gate", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("sitelog install-gate: ")
    assert done.stderr.endswith("give a folder that this user may write\n")
