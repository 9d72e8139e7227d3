"""What is given to `sitelog check`, as bytes or as the objects of a manifest."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
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


def objects(file: Path, raw: bytes) -> list[Mapping[str, Any]]:
    """Return the objects of a manifest that has been read: each document, and what a List has instead of it.

    An item of a list such as ConfigMapList need not say its kind.

    Raises
    ------
    NoManifestError
        It is neither JSON nor YAML, or has something else than objects in it.
    """
    found: list[Mapping[str, Any]] = []
    for document in _documents(file, raw):
        for each in _items(document):
            if not isinstance(each, Mapping):
                raise NoManifestError(f"{file}: no Kubernetes object, but {type(each).__name__}")
            found.append(each)
    return found


def _items(document: Any) -> list[Any]:
    items = document.get("items") if isinstance(document, Mapping) else None
    if not isinstance(items, list):
        return [document]
    inherited = {key: value for key in ("apiVersion", "kind") if isinstance(value := document.get(key), str)}
    inherited["kind"] = inherited.get("kind", "").removesuffix("List")
    return [{**inherited, **item} if isinstance(item, Mapping) else item for item in items]


def _documents(file: Path, raw: bytes) -> list[Any]:
    try:
        text = raw.decode()
        if file.suffix == ".json":
            return [_json_document(text)]
        return list(_yaml_documents(text))
    except RecursionError:
        raise NoManifestError(f"{file}: it is nested too deep") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise NoManifestError(f"{file}: it is not YAML ({line}{error.problem or error.context})") from None
    except (UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        first, *_ = str(error).splitlines() or [""]
        raise NoManifestError(f"{file}: it cannot be read ({first})") from None


def _yaml_documents(text: str) -> Iterator[Any]:
    try:
        yield _json_document(text)  # which is YAML but for its tabs
    except json.JSONDecodeError:
        yield from (document for document in yaml.load_all(text, _Loader) if document is not None)


def _json_document(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Build an object as strictly as the API server does for kubectl, which refuses a field that stands twice."""
    built: dict[Any, Any] = {}
    for key, value in pairs:
        if key in built:
            raise ValueError(f"the field {key!r} stands twice in an object")
        built[key] = value
    return built


class _Loader(yaml.CSafeLoader):
    """Reads YAML; a field that stands twice is an error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flattened: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the fields as they are written, before those that `<<` brings stand among them."""
        if node not in self._flattened:
            self._flattened.add(node)
            _object((key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            super().flatten_mapping(node)


def one_line(text: str) -> str:
    """Write what the names of files and objects may hold so that it stays one line, and text."""
    printable = text.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in printable)
