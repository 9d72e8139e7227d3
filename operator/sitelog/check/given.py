"""The policies and ConfigMaps that `sitelog check` is asked about."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from sitelog.core.configmap.configmap import CONFIG_KEYS, ConfigMap
from sitelog.core.configmap.decide import may_concern
from sitelog.core.names import KIND
from sitelog.core.policy.policy import Policy
from sitelog.kube.configmaps import MalformedError, parse_configmap
from sitelog.kube.policies import PolicyError, parse_policy

from .documents import CheckError, NoManifestError, objects, read

_KINDS = f"{CONFIG_KEYS[0]} (or .conf, .yml, .yaml) or resources.json"
_MANIFESTS = (".yaml", ".yml", ".json")
_CONFIGMAP = re.compile(rb"""kind["']?\s*:\s*["']?ConfigMap""")


@dataclass(frozen=True)
class Given:
    """One ConfigMap.

    Attributes
    ----------
    label : the file, or for one of a manifest `file#namespace/name`.
    from_manifest : it is a ConfigMap of a manifest, not a file alone.
    """

    label: str
    configmap: ConfigMap
    from_manifest: bool = False


def read_policies(files: Sequence[Path], namespace: str) -> list[Policy]:
    """Read SiteLogPolicy manifests; a file may hold several documents, or a List.

    Raises
    ------
    CheckError
        A file cannot be read, or holds something else or an unusable policy.
    """
    policies = []
    for file in files:
        bodies = objects(file, read(file))
        if not bodies:
            raise CheckError(f"{file}: no {KIND} in it")
        for body in bodies:
            try:
                policies.append(parse_policy(body, default_namespace=namespace))
            except PolicyError as error:
                raise CheckError(f"{file}: {error}") from None
            except (AttributeError, TypeError, ValueError) as error:  # what no API server would let in
                raise CheckError(f"{file}: its metadata cannot be read ({error})") from None
    return policies


def read_configmaps(paths: Sequence[Path], namespace: str, key: str | None) -> Iterator[Given]:
    """Give every ConfigMap under the paths that the webhook would look into.

    Parameters
    ----------
    paths : files, manifests, folders, or `-` for standard input.
    namespace : of what names none.
    key : what each file or standard input is called in the ConfigMap; None: its own name tells.

    Raises
    ------
    CheckError
        A path does not exist, cannot be read, or holds nothing to decide about.
    """
    if key is not None and not may_concern([key]):
        raise CheckError(f"--key {key}: the webhook does not look into it, but into {_KINDS}")
    for path in paths:
        found = list(_under(path, namespace) if path.is_dir() else _of_file(path, namespace, key))
        if not found:
            raise CheckError(f"{path}: neither a {_KINDS} nor a ConfigMap that has one")
        yield from found


def _under(folder: Path, namespace: str) -> Iterator[Given]:
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        if may_concern([file.name]):
            yield from _of_file(file, namespace, None)
        elif file.suffix in _MANIFESTS and _CONFIGMAP.search(raw := read(file)):
            try:
                yield from _of_manifest(file, objects(file, raw), namespace)
            except NoManifestError:
                if b"{{" not in raw:  # else it is a chart's template, and no manifest yet
                    raise


def _of_file(file: Path, namespace: str, key: str | None) -> Iterator[Given]:
    if key is None and may_concern([file.name]):
        key = file.name
    if key is not None:
        yield Given(str(file), ConfigMap(namespace, file.name, binary_data={key: read(file)}))
        return
    yield from _of_manifest(file, _manifest(file), namespace)


def _of_manifest(file: Path, bodies: Sequence[Mapping[str, Any]], namespace: str) -> Iterator[Given]:
    for body in bodies:
        if body.get("kind") == "ConfigMap":
            configmap = _configmap(file, body, namespace)
            if may_concern([*configmap.data, *configmap.binary_data]):
                yield Given(f"{file}#{configmap.namespace}/{configmap.name}", configmap, from_manifest=True)


def _manifest(file: Path) -> list[Mapping[str, Any]]:
    try:
        return objects(file, read(file))
    except NoManifestError as error:
        raise NoManifestError(f"{error}; if it is a configuration, add --key, such as --key {CONFIG_KEYS[0]}") from None


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class _Metadata(_Part):
    name: str = ""
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Body(_Part):
    metadata: _Metadata = Field(default_factory=_Metadata)
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None


def _configmap(file: Path, body: Mapping[str, Any], namespace: str) -> ConfigMap:
    try:
        known = _Body.model_validate(body).model_dump(by_alias=True)
        known["metadata"]["namespace"] = known["metadata"]["namespace"] or namespace
        return parse_configmap(known)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CheckError(f"{file}: a ConfigMap in it cannot be read: {field}: {first['msg']}") from None
    except MalformedError as error:
        raise CheckError(f"{file}: {error}") from None
