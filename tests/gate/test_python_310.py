"""The gate runs inside NVFlare's client, and NVFlare runs on Python 3.10 too."""

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import sitelog

ROOMS = Path(sitelog.__file__).parent
INSIDE_THE_CLIENT = [*sorted((ROOMS / "core").rglob("*.py")), *sorted((ROOMS / "gate").rglob("*.py"))]
# What core and gate could be tempted to use, and 3.10 does not have.
NEWER = {
    "asyncio": {"Runner", "TaskGroup", "timeout"},
    "contextlib": {"chdir"},
    "datetime": {"UTC"},
    "enum": {"EnumCheck", "ReprEnum", "StrEnum", "member", "nonmember", "verify"},
    "hashlib": {"file_digest"},
    "http": {"HTTPMethod"},
    "itertools": {"batched"},
    "typing": {"LiteralString", "Never", "NotRequired", "Required", "Self", "TypeVarTuple", "assert_never", "override"},
}
NEWER_MODULES = {"tomllib", "wsgiref.types"}
NEWER_BUILTINS = {"BaseExceptionGroup", "ExceptionGroup"}


def too_new(tree: ast.AST) -> list[str]:
    """Names in a module that Python 3.10's standard library does not have."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                found += [f"{module}.{alias.name}" for alias in names if alias.name in NEWER.get(module, ())]
                found += [module] if module in NEWER_MODULES else []
            case ast.Import(names=names):
                found += [alias.name for alias in names if alias.name in NEWER_MODULES]
            case ast.Attribute(value=ast.Name(id=module), attr=attribute) if attribute in NEWER.get(module, ()):
                found.append(f"{module}.{attribute}")
            case ast.Name(id=name) if name in NEWER_BUILTINS:
                found.append(name)
            case ast.Call(func=ast.Attribute(attr="add_note")):
                found.append("add_note")
    return found


@pytest.mark.parametrize("file", INSIDE_THE_CLIENT, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_it_is_python_310(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 10))
    assert too_new(tree) == []


def test_the_look_for_newer_names_finds_them() -> None:
    source = "import datetime, tomllib\nfrom enum import StrEnum\nx = datetime.UTC\nExceptionGroup('', [])\n"
    assert sorted(too_new(ast.parse(source))) == ["ExceptionGroup", "datetime.UTC", "enum.StrEnum", "tomllib"]


def test_core_imports_on_a_real_python_310() -> None:
    python = shutil.which("python3.10")
    version = [python or "python3.10", "-c", "import sys; print(sys.version_info[:2])"]
    if python is None or subprocess.run(version, capture_output=True, text=True, check=False).stdout != "(3, 10)\n":
        pytest.skip("there is no Python 3.10 here")
    files = [file.relative_to(ROOMS.parent).with_suffix("") for file in (ROOMS / "core").rglob("*.py")]
    # The readers of configurations need libraries, which the gate does without.
    bare = [file for file in files if not {"jobconfig", "configmap", "__init__"} & set(file.parts)]
    modules = [".".join(file.parts) for file in bare]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    environment = {**os.environ, "PYTHONPATH": str(ROOMS.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([python, "-W", "error", "-c", code, *modules], env=environment, check=True, timeout=60)
