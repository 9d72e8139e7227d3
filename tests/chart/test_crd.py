"""SiteLogPolicy in the API server: what a user writes, and what the user reads."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sitelog.core import names
from sitelog.core.policy import policy
from sitelog.kube.policies import PolicyError, parse_policy
from support.control_plane.control_plane import CommandError, ControlPlane

pytestmark = pytest.mark.usefixtures("crd")

DURATION = "write a duration: numbers with the units h, m, s or ms, such as 10s, 500ms or 1m30s"
LIVENESS = "write more than 0 and less than 30s: the FL server gives up a stream that is silent for 30s"
POLL = "set pollInterval to at most livenessInterval: a heartbeat is sent only after a look at the file"
BASE_NAME = "write the base name of the file: no '/', no '\\', not '.' or '..'; its folder is the job's own"
CLIENT_NAME = "write the FL client name as it is provisioned: no '/', no '\\', no white space, not '.' or '..'"
CLIENT_NAME_NEEDED = (
    "set spec.clientName to the FL client name of this site: with errorLog.upload Enabled, logs are stored under that "
    "name and no other"
)
COURIER_NEEDED = (
    "set spec.errorLog.courierSecretName to the Secret with the courier's startup kit, which uploads error logs, or "
    "set upload to Disabled"
)

OURS = (
    "select by a label of your own: Sitelog itself writes the labels sitelog.dev/..., and no object has them while its "
    "webhook is down"
)

# spec -> each line that kubectl must print
REFUSED = {
    "{streamer: {livenessInterval: 10 parsecs}}": [
        f'spec.streamer.livenessInterval: Invalid value: "10 parsecs": {DURATION}'
    ],
    "{streamer: {pollInterval: '5'}}": [f'spec.streamer.pollInterval: Invalid value: "5": {DURATION}'],
    "{streamer: {livenessInterval: -1s}}": [f'spec.streamer.livenessInterval: Invalid value: "-1s": {DURATION}'],
    "{streamer: {livenessInterval: 9999999h}}": [f'Invalid value: "9999999h": {DURATION}'],
    "{streamer: {livenessInterval: 10}}": ['spec.streamer.livenessInterval: Invalid value: "integer"'],
    "{streamer: {livenessInterval: 30s}}": [f'spec.streamer.livenessInterval: Invalid value: "30s": {LIVENESS}'],
    "{streamer: {livenessInterval: 1m30s}}": [f'Invalid value: "1m30s": {LIVENESS}'],
    "{streamer: {livenessInterval: 0m30s}}": [f'Invalid value: "0m30s": {LIVENESS}'],
    "{streamer: {livenessInterval: 0s}}": [f'spec.streamer.livenessInterval: Invalid value: "0s": {LIVENESS}'],
    "{streamer: {pollInterval: 0ms}}": ['spec.streamer.pollInterval: Invalid value: "0ms": write more than 0'],
    "{streamer: {livenessInterval: 1s, pollInterval: 1001ms}}": [f"spec.streamer.pollInterval: Invalid value: {POLL}"],
    "{streamer: {pollInterval: 11s}}": [f"spec.streamer.pollInterval: Invalid value: {POLL}"],
    "{streamer: {logFileName: ../log.txt}}": [f'spec.streamer.logFileName: Invalid value: "../log.txt": {BASE_NAME}'],
    "{streamer: {logFileName: '..'}}": [f'spec.streamer.logFileName: Invalid value: "..": {BASE_NAME}'],
    "{streamer: {logFileName: ''}}": ["spec.streamer.logFileName", "at least 1 chars long"],
    "{clientName: a/b}": [f'spec.clientName: Invalid value: "a/b": {CLIENT_NAME}'],
    "{clientName: 'a\\b'}": [CLIENT_NAME],
    "{clientName: hospital a}": [f'spec.clientName: Invalid value: "hospital a": {CLIENT_NAME}'],
    '{clientName: "a\\nb"}': [CLIENT_NAME],
    '{clientName: "a\\u00a0b"}': [CLIENT_NAME],
    '{clientName: "a\\u0007"}': [CLIENT_NAME],
    "{clientName: '..'}": [f'spec.clientName: Invalid value: "..": {CLIENT_NAME}'],
    "{priority: 1001}": ["spec.priority: Invalid value: 1001", "less than or equal to 1000"],
    "{priority: -1001}": ["spec.priority: Invalid value: -1001", "greater than or equal to -1000"],
    "{logStreaming: allowed}": [
        'spec.logStreaming: Unsupported value: "allowed": supported values: "Allowed", "ErrorLogOnly", "Forbidden"'
    ],
    "{mode: Audit}": ['spec.mode: Unsupported value: "Audit": supported values: "Enforce", "DryRun"'],
    "{errorLog: {upload: Enabled}}": [
        f"spec.clientName: Required value: {CLIENT_NAME_NEEDED}",
        f"spec.errorLog.courierSecretName: Required value: {COURIER_NEEDED}",
    ],
    "{clientName: a, errorLog: {upload: Enabled}}": [
        f"spec.errorLog.courierSecretName: Required value: {COURIER_NEEDED}"
    ],
    "{errorLog: {upload: Enabled, courierSecretName: courier}}": [
        f"spec.clientName: Required value: {CLIENT_NAME_NEEDED}"
    ],
    "{errorLog: {courierSecretName: Hospital_A}}": ['Invalid value: "Hospital_A": write the name of a Secret'],
    "{errorLog: {server: {host: fl.example}}}": ["spec.errorLog.server.port: Required value"],
    "{errorLog: {server: {port: 8002}}}": ["spec.errorLog.server.host: Required value"],
    "{errorLog: {server: {host: 'https://fl', port: 8002}}}": ["write a host name or an IP address only"],
    "{errorLog: {server: {host: fl, port: 70000}}}": ["spec.errorLog.server.port: Invalid value: 70000"],
    "{errorLog: {maxBytes: 943719}}": ["spec.errorLog.maxBytes: Invalid value: 943719", "943718"],
    "{errorLog: {maxBytes: 100}}": ["spec.errorLog.maxBytes: Invalid value: 100", "4096"],
    "{errorLog: {image: a b}}": ["write one image reference without white space"],
    "{errorLog: {ttlSecondsAfterFinished: 59}}": ["spec.errorLog.ttlSecondsAfterFinished: Invalid value: 59"],
    "{selector: {matchLabels: {'no label': x}}}": ["spec.selector.matchLabels: Invalid value: write label keys"],
    "{selector: {matchLabels: {app: 'no value'}}}": ["spec.selector.matchLabels.app: Invalid value"],
    "{selector: {matchExpressions: [{key: app, operator: In}]}}": ["list at least one entry under values"],
    "{selector: {matchExpressions: [{key: app, operator: Exists, values: [x]}]}}": ["remove values"],
    "{selector: {matchExpressions: [{key: app, operator: Like}]}}": ['Unsupported value: "Like"'],
    "{selector: {matchLabels: {sitelog.dev/client: hospital-a}}}": [
        f"spec.selector.matchLabels: Invalid value: {OURS}"
    ],
    "{selector: {matchExpressions: [{key: sitelog.dev/job, operator: Exists}]}}": [
        f'spec.selector.matchExpressions[0].key: Invalid value: "sitelog.dev/job": {OURS}'
    ],
}

ACCEPTED = [
    "{logStreaming: Forbidden, clientName: a, errorLog: {upload: Enabled, courierSecretName: a-courier}}",
    "{mode: DryRun, priority: -1000, clientName: Site_1.example-org}",
    "{streamer: {logFileName: job log.txt, livenessInterval: 29.999s, pollInterval: 29s999ms}}",
    "{errorLog: {courierSecretName: a.b-c, maxBytes: 943718, server: {host: '2001:db8::1', port: 8002}}}",
    "{selector: {matchLabels: {example.com/client: hospital-a, notsitelog.dev/client: a, app: ''}}}",
    "{logStreaming: ErrorLogOnly, selector: {}, streamer: {}, errorLog: {}, gate: Injected, onRevoke: DeletePods}",
    "{selector: {matchExpressions: [{key: app, operator: NotIn, values: [x]}, {key: a/b, operator: Exists}]}}",
]


HEAD = f"apiVersion: {names.GROUP}/{names.VERSION}\nkind: {names.KIND}\nmetadata: {{name: hospital-a}}\n"


def manifest(spec: str) -> str:
    """Write a policy, Allowed if it does not say otherwise."""
    return HEAD + "spec: " + json.dumps({"logStreaming": "Allowed", **yaml.safe_load(spec)})


def body(spec: str) -> Any:
    """Give it as `sitelog check` reads it: its parser and the schema say the same."""
    return yaml.safe_load(manifest(spec))


@pytest.fixture(scope="module")
def try_policy(control_plane: ControlPlane) -> Any:
    """Create a policy in a dry run, as a user does with kubectl."""

    def create(spec: str) -> Any:
        text = control_plane.kubectl(
            "create", "--dry-run=server", "--output=yaml", "--filename=-", input=manifest(spec)
        )
        return yaml.safe_load(text)["spec"]

    return create


@pytest.mark.parametrize("spec", REFUSED)
def test_a_bad_policy_is_refused_with_the_next_step(try_policy: Any, spec: str) -> None:
    with pytest.raises(CommandError) as refusal:
        try_policy(spec)
    for line in REFUSED[spec]:
        assert line in str(refusal.value)
    with pytest.raises(PolicyError):
        parse_policy(body(spec))


@pytest.mark.parametrize("spec", ACCEPTED)
def test_a_good_policy_is_kept_as_written(try_policy: Any, spec: str) -> None:
    def contains(kept: Any, wanted: Any) -> bool:
        if isinstance(wanted, dict):
            return all(contains(kept[key], value) for key, value in wanted.items())
        return bool(kept == wanted)

    assert contains(try_policy(spec), yaml.safe_load(spec))
    assert parse_policy(body(spec)).name == "hospital-a"


def test_defaults_are_those_of_the_decisions(try_policy: Any) -> None:
    default, error_log = policy.Policy(namespace="", name=""), policy.ErrorLog()
    assert default.streamer.liveness_interval == 10
    assert default.streamer.poll_interval == 0.5
    assert try_policy("{errorLog: {}}") == {
        "logStreaming": "Allowed",
        "mode": default.mode.value,
        "priority": default.priority,
        "onRevoke": default.on_revoke.value,
        "gate": default.gate.value,
        "streamer": {
            "logFileName": default.streamer.log_file_name,
            "livenessInterval": "10s",
            "pollInterval": "500ms",
        },
        "errorLog": {
            "upload": {False: "Disabled", True: "Enabled"}[error_log.upload],
            "capture": error_log.capture.value,
            "maxBytes": error_log.max_bytes,
            "ttlSecondsAfterFinished": error_log.ttl_seconds,
        },
    }


def test_without_an_error_log_section_the_policy_says_nothing_about_it(try_policy: Any) -> None:
    assert "errorLog" not in try_policy("{}")


@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        ("", "spec"),
        ("spec: {}", "spec.logStreaming"),
        ("spec: {logStreeming: Forbidden}", "spec.logStreaming"),
        ("spec: {loggStreaming: Forbidden, mode: DryRun}", "spec.logStreaming"),
    ],
)
def test_nobody_allows_by_saying_nothing(control_plane: ControlPlane, spec: str, missing: str) -> None:
    for how in ("strict", "ignore"):
        with pytest.raises(CommandError, match=f"{missing}: Required value"):
            control_plane.kubectl("create", "--dry-run=server", "--filename=-", f"--validate={how}", input=HEAD + spec)


OBJECTS = {
    "spec": ("{mood: DryRun}", "spec", "onRevoke"),
    "selector": ("{selector: {matchLabel: {a: b}}}", "spec.selector", "matchLabels"),
    "expression": (
        "{selector: {matchExpressions: [{key: a, operator: Exists, vals: []}]}}",
        "spec.selector.matchExpressions[0]",
        "values",
    ),
    "streamer": ("{streamer: {filename: error_log.txt}}", "spec.streamer", "logFileName"),
    "errorLog": ("{errorLog: {uplaod: Enabled}}", "spec.errorLog", "upload"),
    "server": ("{errorLog: {server: {host: a, port: 1, prot: 2}}}", "spec.errorLog.server", "port"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_misspelt_field_is_refused_whoever_sends_it(control_plane: ControlPlane, name: str) -> None:
    spec, place, known = OBJECTS[name]
    for how in ("strict", "ignore"):
        with pytest.raises(CommandError) as refusal:
            control_plane.kubectl(
                "create", "--dry-run=server", "--filename=-", f"--validate={how}", input=manifest(spec)
            )
        assert f"{place}: Invalid value: correct the name of a field, or remove the field: " in str(refusal.value)
        assert known in str(refusal.value)


def test_every_object_of_the_spec_knows_its_fields(crd: dict[str, Any]) -> None:
    """A new field has to be named in the rule and in the message of its object."""

    def walk(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "properties" in schema:
            yield schema
        for field in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else ())):
            yield from walk(field)

    [version] = crd["spec"]["versions"]
    objects = list(walk(version["schema"]["openAPIV3Schema"]["properties"]["spec"]))
    assert len(objects) == len(OBJECTS)
    for schema in objects:
        assert schema["x-kubernetes-preserve-unknown-fields"] is True
        [rule] = [
            each for each in schema["x-kubernetes-validations"] if each["rule"].startswith("size(dyn(self)) == [")
        ]
        assert set(re.findall(r"has\(self\.(\w+)\)", rule["rule"])) == set(schema["properties"])
        assert set(re.findall(r"\w+", rule["message"].partition(": ")[2])) >= set(schema["properties"])


def test_the_names_are_those_of_the_code(crd: dict[str, Any]) -> None:
    assert crd["spec"]["group"] == names.GROUP
    assert crd["spec"]["names"]["kind"] == names.KIND
    assert crd["spec"]["names"]["plural"] == names.PLURAL
    assert [version["name"] for version in crd["spec"]["versions"]] == [names.VERSION]


def test_the_schema_is_structural(crd: dict[str, Any]) -> None:
    assert not [each for each in crd["status"]["conditions"] if each["type"] == "NonStructuralSchema"]


def test_every_field_is_described_and_bounded(crd: dict[str, Any]) -> None:
    [version] = crd["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]

    def walk(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        yield path, schema
        for name, field in schema.get("properties", {}).items():
            yield from walk(f"{path}.{name}", field)
        for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
            if key in schema:
                yield from walk(path + suffix, schema[key])

    def bounded(schema: dict[str, Any]) -> bool:
        if schema["type"] == "string":
            return "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time"
        if schema["type"] == "array":
            return "maxItems" in schema and "x-kubernetes-list-type" in schema
        return "maxProperties" in schema or "additionalProperties" not in schema

    fields = list(walk("", root))
    assert len(fields) > 30
    assert [path for path, schema in fields if not schema.get("description")] == []
    assert [path for path, schema in fields if not bounded(schema)] == []


def test_explain_speaks(control_plane: ControlPlane) -> None:
    assert "the strictest wins" in control_plane.kubectl("explain", "slp.spec.logStreaming").replace("\n    ", " ")
    assert "The default log.txt" in control_plane.kubectl("explain", "slp.spec.streamer.logFileName").replace(
        "\n    ", " "
    )
    assert "livenessInterval" in control_plane.kubectl("explain", "slp", "--recursive")


def test_kubectl_get_shows_what_the_controller_counted(control_plane: ControlPlane, namespace: str) -> None:
    here = f"--namespace={namespace}"
    spec = "{logStreaming: Forbidden, mode: DryRun, clientName: hospital-a}"
    control_plane.kubectl("create", here, "--filename=-", input=manifest(spec))
    status = """{"status": {"observedGeneration": 1, "configMaps": {"injected": 3, "stripped": 4},
        "uploads": {"uploaded": 5000000000, "skipped": 0, "failed": 1}, "pendingCounts": ["a", "b"],
        "conditions": [{"type": "Ready", "status": "True", "reason": "InForce", "message": "All is well.",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}"""
    control_plane.kubectl("patch", here, "slp/hospital-a", "--subresource=status", "--type=merge", f"--patch={status}")

    header, row = control_plane.kubectl("get", "sitelog", here).splitlines()
    assert " ".join(header.split()) == "NAME MODE STREAMING INJECTED STRIPPED UPLOADED ENFORCED READY AGE"
    assert row.split()[:-1] == ["hospital-a", "DryRun", "Forbidden", "3", "4", "5000000000", "True"]
    header, row = control_plane.kubectl("get", "slp", here, "--output=wide").splitlines()
    assert header.split()[-3:] == ["CLIENT", "REASON", "MESSAGE"]
    assert "hospital-a" in row
    assert row.endswith("InForce   All is well.")


def test_the_chart_carries_a_copy(chart: str, crd_file: Path) -> None:
    copy = Path(chart, "files", crd_file.name)
    assert copy.read_text() == crd_file.read_text(), f"run: cp {crd_file} {copy}"
