"""Volumes of a pod as folders of this host, filled and refreshed as a kubelet does."""

import base64
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from support.control_plane.api import ApiError, Json

Payload = dict[str, bytes]
Read = Callable[[str, str], Json | None]  # plural, name -> object of the pod's namespace, None where there is none
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class MountError(RuntimeError):
    """A volume cannot be mounted (yet); the message is what a kubelet says in its FailedMount Event."""


class Volumes:
    """All volumes of one pod.

    Parameters
    ----------
    pod
        The pod.
    directory
        Folder to hold them.
    read
        Reads Secrets and ConfigMaps of the pod's namespace.
    token
        Makes a token of the pod's service account.
    """

    def __init__(self, pod: Json, directory: Path, read: Read, token: Callable[[], str]) -> None:
        self._pod = pod
        self._directory = directory
        self._read = read
        self._make_token = token
        self._token: bytes | None = None
        self._written: dict[str, Payload] = {}

    def mount(self) -> None:
        """Fill every volume with what it has to hold now; called again, it brings all up to date.

        Raises
        ------
        MountError
            Something that is not optional is missing.
        """
        for volume in self._pod["spec"].get("volumes", []):
            folder = self._directory / volume["name"]
            folder.mkdir(parents=True, exist_ok=True)
            if "emptyDir" in volume:
                continue
            payload = self._payload(volume)
            if self._written.get(volume["name"]) != payload:
                write_atomically(folder, payload)
                self._written[volume["name"]] = payload

    def local_paths(self, container: Json) -> dict[str, str]:
        """Return mountPath -> folder on this host, for one container."""
        paths = {}
        for mount in container.get("volumeMounts", []):
            local = self._directory / mount["name"] / mount.get("subPath", "")
            paths[mount["mountPath"].rstrip("/")] = str(local)
        return paths

    def _payload(self, volume: Json) -> Payload:
        name = volume["name"]
        try:
            for kind in ("secret", "configMap", "downwardAPI"):
                if kind in volume:
                    source = dict(volume[kind])
                    source.setdefault("name", source.get("secretName"))
                    return self._source(kind, source)
            if "projected" in volume:
                payload: Payload = {}
                for entry in volume["projected"].get("sources", []):
                    for kind, source in entry.items():
                        payload |= self._source(kind, source)
                return payload
        except MountError as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
        kinds = ", ".join(sorted(volume.keys() - {"name"}))
        raise MountError(f'volume "{name}": the played kubelet has no {kinds}')

    def _source(self, kind: str, source: Json) -> Payload:
        match kind:
            case "secret":
                return self._keyed("secrets", "secret", source)
            case "configMap":
                return self._keyed("configmaps", "configmap", source)
            case "downwardAPI":
                return {
                    item["path"]: field(self._pod, item["fieldRef"]["fieldPath"]).encode() for item in source["items"]
                }
            case "serviceAccountToken":
                self._token = self._token or self._make_token().encode()
                return {source["path"]: self._token}
            case _:
                raise MountError(f"the played kubelet has no projected {kind}")

    def _keyed(self, plural: str, word: str, source: Json) -> Payload:
        found = self._read(plural, source["name"])
        if found is None:
            if source.get("optional"):
                return {}
            raise MountError(f'{word} "{source["name"]}" not found')
        data = contents(found, plural)
        if "items" not in source:
            return data
        missing = [item["key"] for item in source["items"] if item["key"] not in data]
        if missing and not source.get("optional"):
            raise MountError(f"references non-existent {word} key: {missing[0]}")
        return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}


def contents(found: Json, plural: str) -> Payload:
    """Return the keys and bytes of a Secret or ConfigMap."""
    binary = found.get("data" if plural == "secrets" else "binaryData") or {}
    text = {} if plural == "secrets" else found.get("data") or {}
    return {key: base64.b64decode(value) for key, value in binary.items()} | {
        key: value.encode() for key, value in text.items()
    }


def write_atomically(folder: Path, payload: Payload) -> None:
    """Swap a volume's whole content at once: NAME -> ..data/NAME, ..data -> ..TIME, as a kubelet writes it."""
    generation = folder / f"..{time.time_ns()}"
    generation.mkdir()
    for path, data in payload.items():
        file = generation / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    current = folder / "..data"
    before = current.readlink() if current.is_symlink() else None
    swap = folder / "..data_tmp"
    swap.symlink_to(generation.name)
    swap.rename(current)
    visible = {PurePosixPath(path).parts[0] for path in payload}
    for name in visible:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in visible:
            entry.unlink()
    if before is not None:
        shutil.rmtree(folder / before)


def field(pod: Json, path: str) -> str:
    """Return what a fieldRef of the pod stands for.

    Raises
    ------
    MountError
        The played kubelet does not know this field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(metadata.get(found[1], {}).get(found[2], ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": "127.0.0.1",
        "status.podIPs": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
    }
    if path not in values:
        raise MountError(f"the played kubelet knows no field {path}")
    return str(values[path])


def rewrite(text: str, paths: Mapping[str, str]) -> str:
    """Replace each path of the container's world by its place on this host, longest first."""
    if not paths:
        return text
    longest_first = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])({longest_first})(?![\w.-])", lambda found: paths[found[1]], text)


def reader(get: Callable[[str], Json], namespace: str) -> Read:
    """Read objects of one namespace; absence is an answer, everything else an error."""

    def read(plural: str, name: str) -> Json | None:
        try:
            return get(f"/api/v1/namespaces/{namespace}/{plural}/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    return read
