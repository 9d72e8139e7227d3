"""What is given to `sitelog check`, as bytes or as the objects of a manifest."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

STANDARD_INPUT = Path("-")


class CheckError(Exception):
    """Something cannot be read. The message names the file and what is wrong, in one line."""


class NoManifestError(CheckError):
    """A file that can be read, and holds no Kubernetes objects."""


def read(file: Path) -> bytes:
    """Return what a file, or standard input, holds.

    Raises
    ------
    CheckError
        It cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
    except OSError as error:
        raise CheckError(f"{file}: {error.strerror}") from None


def objects(file: Path) -> list[Mapping[str, Any]]:
    """Return the objects of a manifest: each document, and what a List has instead of it.

    Raises
    ------
    CheckError
        It cannot be read.
    NoManifestError
        It is neither JSON nor YAML, or has something else than objects in it.
    """
    found: list[Mapping[str, Any]] = []
    for document in _documents(file, read(file)):
        items = document.get("items") if isinstance(document, Mapping) else None
        for each in items if isinstance(items, list) else [document]:
            if not isinstance(each, Mapping):
                raise NoManifestError(f"{file}: no Kubernetes object, but {type(each).__name__}")
            found.append(each)
    return found


def _documents(file: Path, raw: bytes) -> list[Any]:
    try:
        text = raw.decode()
        if file.suffix == ".json":
            return [json.loads(text)]
        return list(_yaml_documents(text))
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        first, *_ = str(error).splitlines() or [""]
        raise NoManifestError(f"{file}: {type(error).__name__}: {first}") from None


def _yaml_documents(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)  # which is YAML but for its tabs
    except ValueError:
        yield from (document for document in yaml.safe_load_all(text) if document is not None)
