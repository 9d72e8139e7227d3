"""A copy of the gate for another image's Python: a folder that it can run."""

import shutil
from pathlib import Path

import sitelog

ROOMS = ("core", "gate")  # all that the gate imports of this package
_FILE, _FOLDER = 0o644, 0o755  # whoever runs the client may read it, whatever this process' umask is


def install_gate(directory: Path) -> None:
    """Make `directory` a folder that `python DIRECTORY` runs as NVFlare's client with the gate.

    What is there already is replaced. OSError: it cannot be written.
    """
    source, target = Path(sitelog.__file__).parent, directory / "sitelog"
    directory.mkdir(parents=True, exist_ok=True)
    _copy(source / "__init__.py", target)
    for room in ROOMS:
        for file in sorted((source / room).rglob("*.py")):
            _copy(file, target / file.parent.relative_to(source))
    shutil.copyfile(source / "gate" / "folder.py", directory / "__main__.py")
    (directory / "__main__.py").chmod(_FILE)


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(_FOLDER)
    shutil.copyfile(file, folder / file.name)
    (folder / file.name).chmod(_FILE)
