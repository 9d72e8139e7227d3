"""`sitelog check`: the webhook's decision about files, for a person or a pipeline."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from sitelog.core.configmap import CONFIG_KEYS, ConfigMap, decide_configmap
from sitelog.core.names import Decision
from sitelog.core.policy import Policy, applicable
from sitelog.kube.configmaps import MalformedError, parse_configmap
from sitelog.kube.policies import PolicyError, parse_policy

_MANIFESTS = (".yaml", ".yml", ".json")


class CheckError(Exception):
    """Something cannot be read. The message names the file and what is wrong."""


@dataclass(frozen=True)
class Result:
    """The decision about one configuration.

    Attributes
    ----------
    path : the file; for a ConfigMap manifest, `file#namespace/name/key`.
    decision, reason : the codes.
    policy : `namespace/name` of the policy that decided, or None.
    changed : the text becomes another.
    result : the whole resulting text; None if it is refused, or is no text.
    message : why, for a person.
    """

    path: str
    decision: str
    reason: str
    policy: str | None
    changed: bool
    result: str | None
    message: str

    @property
    def refused(self) -> bool:
        """Whether the webhook would not let it in."""
        return self.decision == Decision.REFUSED.value


def read_policies(files: Sequence[Path], namespace: str) -> list[Policy]:
    """Read SiteLogPolicy manifests; a file may hold several documents.

    Raises
    ------
    CheckError
        A file cannot be read, or holds something else or an unusable policy.
    """
    policies = []
    for file in files:
        for document in _documents(file):
            if not isinstance(document, Mapping):
                raise CheckError(f"{file}: no SiteLogPolicy in it, but something that is no object")
            try:
                policies.append(parse_policy(document, default_namespace=namespace))
            except PolicyError as error:
                raise CheckError(f"{file}: {error}") from None
            except (AttributeError, TypeError, ValueError) as error:  # what no API server would let in
                raise CheckError(f"{file}: its metadata cannot be read ({error})") from None
    return policies


def check_paths(paths: Sequence[Path], policies: Sequence[Policy], namespace: str) -> list[Result]:
    """Decide about every configuration under the paths.

    A policy of another namespace than an object's counts as the release's own, so that one policy file is enough.

    Raises
    ------
    CheckError
        A path does not exist, cannot be read, or holds no configuration.
    """
    results: list[Result] = []
    for path in paths:
        if not path.exists():
            raise CheckError(f"{path}: no such file or folder")
        found = list(_configmaps(path, namespace))
        if not found:
            raise CheckError(f"{path}: neither a {CONFIG_KEYS[0]} (or .conf, .yml, .yaml) nor a ConfigMap that has one")
        for label, configmap in found:
            results += _check(label, configmap, policies)
    return results


def as_json(results: Sequence[Result]) -> str:
    """Write results as a JSON list."""
    keys = ("path", "decision", "reason", "policy", "changed", "result")
    return json.dumps([{key: asdict(result)[key] for key in keys} for result in results], indent=2)


def as_text(results: Sequence[Result]) -> str:
    """Write results for a person, a line each, with the reason below where there is something to say."""
    return "\n".join(f"{result.decision:<11}{result.path}\n           {result.message}" for result in results)


def _check(label: str, configmap: ConfigMap, policies: Sequence[Policy]) -> Iterator[Result]:
    concerned = _concerned(configmap, policies)
    outcome = decide_configmap(configmap, concerned)
    for key, raw in configmap.configurations.items():
        text = outcome.texts.get(key)
        refused = outcome.decision is Decision.REFUSED
        yield Result(
            path=f"{label}/{key}" if "#" in label else label,
            decision=outcome.decision.value,
            reason=outcome.reason.value,
            policy=outcome.policy.key if outcome.policy else None,
            changed=text is not None,
            result=None if refused else text if text is not None else _text(raw),
            message="; ".join((outcome.message, *outcome.warnings[1:])) if outcome.warnings else outcome.message,
        )


def _concerned(configmap: ConfigMap, policies: Sequence[Policy]) -> tuple[Policy, ...]:
    concerned: list[Policy] = []
    for namespace in {policy.namespace for policy in policies}:
        concerned += applicable(
            [policy for policy in policies if policy.namespace == namespace],
            root_namespace=namespace,
            namespace=namespace,
            labels=configmap.labels,
        )
    return tuple(sorted(concerned, key=lambda policy: policy.rank))


def _configmaps(path: Path, namespace: str) -> Iterator[tuple[str, ConfigMap]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and (file.name in CONFIG_KEYS or file.suffix in _MANIFESTS):
                yield from _configmaps_of_file(file, namespace, strict=False)
    else:
        yield from _configmaps_of_file(path, namespace, strict=True)


def _configmaps_of_file(file: Path, namespace: str, *, strict: bool) -> Iterator[tuple[str, ConfigMap]]:
    manifests = [] if file.name in CONFIG_KEYS else _manifests(file, strict=strict)
    for body in manifests:
        try:
            configmap = parse_configmap({**body, "metadata": {"namespace": namespace, **(body.get("metadata") or {})}})
            has_some = bool(configmap.configurations)
        except MalformedError as error:
            raise CheckError(f"{file}: {error}") from None
        except (AttributeError, TypeError, ValueError) as error:  # what no API server would let in
            raise CheckError(f"{file}: a ConfigMap in it cannot be read ({error})") from None
        if has_some:
            yield f"{file}#{configmap.namespace}/{configmap.name}", configmap
    if not manifests and (strict or file.name in CONFIG_KEYS):
        key = file.name if file.name in CONFIG_KEYS else CONFIG_KEYS[0].removesuffix(".json") + _extension(file)
        try:
            yield str(file), ConfigMap(namespace, file.name, binary_data={key: file.read_bytes()})
        except OSError as error:
            raise CheckError(f"{file}: {error.strerror}") from None


def _extension(file: Path) -> str:
    return file.suffix if file.suffix in (".conf", ".yml", ".yaml") else ".json"


def _manifests(file: Path, *, strict: bool) -> list[Mapping[str, Any]]:
    try:
        documents = _documents(file)
    except CheckError:
        if strict and file.suffix == ".json":
            return []  # a configuration of another name: the decision says what is wrong with it
        if strict:
            raise
        return []
    bodies: list[Any] = []
    for document in documents:
        items = (
            document.get("items") if isinstance(document, Mapping) and document.get("kind") == "List" else [document]
        )
        bodies += items or []
    return [body for body in bodies if isinstance(body, Mapping) and body.get("kind") == "ConfigMap"]


def _documents(file: Path) -> list[Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return [json.loads(text)]
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except OSError as error:
        raise CheckError(f"{file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise CheckError(
            f"{file}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from None


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
