"""`sitelog check`: the webhook's decisions about files, its JSON and its exit codes."""

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sitelog.cli import app
from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.decide import decide
from sitelog.core.policy.effective import effective
from sitelog.kube.policies import parse_policy
from support.inputs.configurations import PART, STREAMER

POLICY = """
apiVersion: sitelog.dev/v1alpha1
kind: SiteLogPolicy
metadata: {{name: {name}, namespace: fl}}
spec: {spec}
"""
ALLOWED = "{logStreaming: Allowed}"
STREAMING = json.dumps({"components": [{"id": "s", "path": STREAMER}]})
PLAIN = json.dumps({"components": [{"id": "p", "path": PART}]})
OWNED = json.dumps({"components": [{"id": "p", "path": PART, "args": {"x": {"path": STREAMER}}}]})


MANIFEST_KEYS = ("apiVersion", "kind", "metadata", "name", "labels", "spec", "data", "binaryData", "items")


class Check:
    """Runs the command in a folder of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def policy(self, spec: str, name: str = "site") -> str:
        return f"--policy={self.write(f'{name}.policy', POLICY.format(name=name, spec=spec))}"

    def run(self, *args: object, given: str | bytes = b"") -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["check", *map(str, args)], input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    def json(self, *args: object, given: str | bytes = b"") -> tuple[int, list[dict[str, Any]]]:
        code, out, err = self.run("--output=json", *args, given=given)
        assert err == ""
        return code, json.loads(out)


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


def manifest(name: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "fl"}, **parts}


@pytest.mark.parametrize(
    ("text", "spec", "code", "expected"),
    [
        (PLAIN, ALLOWED, 0, ("Injected", "StreamerInjected", "fl/site", True)),
        (STREAMING, ALLOWED, 0, ("Declared", "StreamerDeclared", "fl/site", False)),
        (STREAMING, "{logStreaming: Forbidden}", 0, ("Stripped", "StreamerStripped", "fl/site", True)),
        (PLAIN, "{logStreaming: Forbidden}", 0, ("Clean", "NoStreamer", "fl/site", False)),
        ("no JSON", ALLOWED, 0, ("Unreadable", "NotJSON", "fl/site", False)),
        ("no JSON", "{logStreaming: Forbidden}", 1, ("Refused", "NotJSON", "fl/site", False)),
        (STREAMING, "{logStreaming: ErrorLogOnly}", 0, ("Stripped", "StreamerStripped", "fl/site", True)),
        (OWNED, "{logStreaming: ErrorLogOnly}", 1, ("Refused", "NotRemovable", "fl/site", False)),
        (OWNED, "{logStreaming: Forbidden}", 1, ("Refused", "NotRemovable", "fl/site", False)),
        (OWNED, "{logStreaming: Forbidden, mode: DryRun}", 0, ("Ungoverned", "DryRun", None, False)),
    ],
)
def test_a_configuration_is_decided_as_by_the_webhook(
    check: Check, text: str, spec: str, code: int, expected: tuple[Any, ...]
) -> None:
    file, policy = check.write("config_fed_client.json", text), check.policy(spec)
    exit_code, (result,) = check.json(policy, file)
    assert list(result) == ["path", "decision", "reason", "policy", "changed", "result", "message", "wouldBe"]
    assert (exit_code, result["path"]) == (code, str(file))
    assert (result["decision"], result["reason"], result["policy"], result["changed"]) == expected
    document = yaml.safe_load(POLICY.format(name="site", spec=spec))
    configmap = ConfigMap("fl", "x", data={"config_fed_client.json": text})
    outcome = decide(configmap, effective((parse_policy(document),), {}))
    whole = outcome.texts.get("config_fed_client.json", text)
    assert result["result"] == (None if outcome.decision.value == "Refused" else whole)


def test_a_policy_in_dry_run_changes_nothing_and_what_it_would_do_is_shown(check: Check) -> None:
    file, rehearsing = check.write("config_fed_client.json", STREAMING), "{logStreaming: Forbidden, mode: DryRun}"
    for policies in ([check.policy(rehearsing)], [check.policy(rehearsing), check.policy(ALLOWED, "allows")]):
        code, (result,) = check.json(*policies, file)
        would = result["wouldBe"]
        assert (code, result["changed"], result["result"]) == (0, False, STREAMING)
        assert (would["decision"], would["reason"], would["policy"]) == ("Stripped", "StreamerStripped", "fl/site")
        assert (would["changed"], json.loads(would["result"])) == (True, {"components": []})
        _, out, _ = check.run(*policies, file)
        assert "DryRun: would be Stripped. " in out

    refused = check.write("refused/config_fed_client.json", OWNED)
    code, (result,) = check.json(check.policy(rehearsing), refused)
    assert (code, result["decision"]) == (0, "Ungoverned")
    assert (result["wouldBe"]["decision"], result["wouldBe"]["result"]) == ("Refused", None)


def test_a_sites_own_resources_are_decided_about_too(check: Check) -> None:
    forbid = check.policy("{logStreaming: Forbidden}")
    client = {"format_version": 2, "client": {}, "components": []}
    file = check.write("local/resources.json", json.dumps(client))
    for path in (file, file.parent):
        code, (result,) = check.json(forbid, path)
        assert (code, result["path"], result["decision"]) == (0, str(file), "SwitchedOff")
        assert json.loads(result["result"]) == {**client, "allow_log_streaming": False}

    staged = manifest("nvflare-local-site-1", data={"resources.json.default": json.dumps(client), "other": "x"})
    maps = check.write("staged.yaml", yaml.safe_dump(staged))
    code, (result,) = check.json(forbid, maps)
    assert (result["path"], result["decision"]) == (
        f"{maps}#fl/nvflare-local-site-1/resources.json.default",
        "SwitchedOff",
    )

    server = check.write("server/resources.json", json.dumps({"format_version": 2, "servers": []}))
    code, (result,) = check.json(forbid, server)
    assert (code, result["decision"], result["changed"]) == (0, "Ungoverned", False)


def test_standard_input_is_a_manifest_or_has_a_key(check: Check) -> None:
    forbid = check.policy("{logStreaming: Forbidden}")
    listed = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [manifest("one", data={"config_fed_client.json": STREAMING})],
    }
    for text in (yaml.safe_dump(listed), json.dumps(listed), json.dumps(listed, indent="\t")):
        _, (result,) = check.json(forbid, "-", given=text)
        assert (result["path"], result["decision"]) == ("-#fl/one/config_fed_client.json", "Stripped")
    _, (result,) = check.json(forbid, "--key=config_fed_client.json", "-", given=STREAMING)
    assert (result["path"], result["decision"]) == ("-", "Stripped")
    policy = POLICY.format(name="piped", spec="{logStreaming: Forbidden}")
    _, (result,) = check.json("--policy=-", check.write("config_fed_client.json", STREAMING), given=policy)
    assert (result["policy"], result["decision"]) == ("fl/piped", "Stripped")


@pytest.mark.parametrize(
    ("key", "text", "decision"),
    [
        ("config_fed_client.yml", f"components:\n- id: s\n  path: {STREAMER}\n", "Stripped"),
        ("config_fed_client.conf", f"components = [{{id = s, path = {STREAMER}}}]", "Stripped"),
        ("config_fed_client.json", f"components:\n- id: s\n  path: {STREAMER}\n", "Refused"),
        ("resources.json", '{"format_version": 2, "client": {}}', "SwitchedOff"),
        ("f0003-f6d65ffcf0ba-resources.json", "{}", None),
    ],
)
def test_the_key_says_what_a_file_is(check: Check, key: str, text: str, decision: str | None) -> None:
    file = check.write("job.txt", text)
    code, out, err = check.run(check.policy("{logStreaming: Forbidden}"), f"--key={key}", file)
    if decision is None:
        assert (code, out) == (2, "")
        assert f"--key {key}: the webhook does not look into it" in err
    else:
        assert (code, out.split()[:2]) == (int(decision == "Refused"), [decision, str(file)])


def test_without_a_policy_everything_is_ungoverned(check: Check) -> None:
    code, (result,) = check.json(check.write("config_fed_client.json", STREAMING))
    assert (code, result["decision"], result["policy"], result["result"]) == (0, "Ungoverned", None, STREAMING)


def test_one_refusal_among_others_is_exit_code_1(check: Check) -> None:
    good, bad = check.write("a/config_fed_client.json", PLAIN), check.write("b/config_fed_client.json", "[]")
    code, results = check.json(check.policy("{logStreaming: Forbidden}"), good, bad)
    assert (code, [result["decision"] for result in results]) == (1, ["Clean", "Refused"])


def test_a_text_that_is_not_utf8_has_no_result(check: Check) -> None:
    code, (result,) = check.json(check.policy(ALLOWED), check.write("config_fed_client.json", b"\xff"))
    assert (code, result["decision"], result["reason"], result["result"]) == (0, "Unreadable", "NotUTF8", None)


def test_a_manifest_with_several_documents_lists_and_binary_data(check: Check) -> None:
    binary = {"config_fed_client.conf": base64.b64encode(STREAMING.encode()).decode()}
    documents = [
        manifest("one", data={"config_fed_client.json": STREAMING}),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}},
        {"apiVersion": "v1", "kind": "List", "items": [manifest("two", binaryData=binary), manifest("empty")]},
        manifest("three", data={"config_fed_client.json": PLAIN, "config_fed_client.yml": "components: []"}),
    ]
    file = check.write("jobs.yaml", yaml.safe_dump_all(documents))
    code, results = check.json(check.policy("{logStreaming: Forbidden}"), file)
    assert (code, [result["path"] for result in results]) == (
        0,
        [
            f"{file}#fl/one/config_fed_client.json",
            f"{file}#fl/two/config_fed_client.conf",
            f"{file}#fl/three/config_fed_client.json",
            f"{file}#fl/three/config_fed_client.yml",
        ],
    )
    assert [result["changed"] for result in results] == [True, True, False, False]


def test_a_folder_is_searched_for_both(check: Check) -> None:
    check.write("jobs/app/config/config_fed_client.conf", "components = []")
    check.write("jobs/app/config/config_fed_server.json", "no JSON")
    check.write("jobs/map.json", json.dumps(manifest("one", data={"config_fed_client.json": PLAIN})))
    check.write("jobs/chart.yaml", "{{ not yaml }}")
    check.write("jobs/template.yaml", "kind: ConfigMap\ndata: {{ .Values.data }}")
    check.write("jobs/kinds.json", '["ConfigMap"]')
    check.write("jobs/README.md", "words")
    code, results = check.json(check.policy(ALLOWED), check.folder / "jobs")
    assert (code, [Path(result["path"]).name for result in results]) == (
        0,
        ["config_fed_client.conf", "config_fed_client.json"],
    )


def test_the_items_of_a_list_need_no_kind_of_their_own(check: Check) -> None:
    item = manifest("one", data={"config_fed_client.json": STREAMING})
    listed = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [{k: item[k] for k in ("metadata", "data")}]}
    policy = yaml.safe_load(POLICY.format(name="site", spec="{logStreaming: Forbidden}"))
    policies = {"apiVersion": policy["apiVersion"], "kind": "SiteLogPolicyList", "items": [policy]}
    del policy["kind"], policy["apiVersion"]
    file = check.write("policies.yaml", yaml.safe_dump(policies))
    code, (result,) = check.json(f"--policy={file}", check.write("jobs.json", json.dumps(listed)))
    assert (code, result["decision"]) == (0, "Stripped")


def test_a_field_that_a_merge_brings_too_does_not_stand_twice(check: Check) -> None:
    merged = """
kind: ConfigMap
apiVersion: v1
metadata: {name: one, labels: &own {<<: &wide {a: x, b: x}, a: y}, annotations: {<<: *own, a: z}}
data: {config_fed_client.json: '{}'}
"""
    assert check.run(check.write("map.yaml", merged))[0] == 0


def test_no_name_writes_a_line_of_its_own(check: Check) -> None:
    name = "config_fed_client.json"
    forged = manifest("one\nClean       two", data={name: STREAMING})
    _, out, _ = check.run(check.policy("{logStreaming: Forbidden}"), check.write("map.json", json.dumps(forged)))
    assert [line.split()[0] for line in out.splitlines()] == ["Stripped", "ConfigMap"]


def test_selectors_and_several_policies_count(check: Check) -> None:
    labelled = manifest("one", data={"config_fed_client.json": STREAMING})
    labelled["metadata"]["labels"] = {"study": "a"}
    file = check.write("map.yaml", yaml.safe_dump(labelled))
    allow = check.policy(ALLOWED)
    forbid = check.policy("{logStreaming: Forbidden, selector: {matchLabels: {study: a}}}", "study-a")
    other = check.policy("{logStreaming: Forbidden, selector: {matchLabels: {study: b}}}", "study-b")
    assert check.json(allow, other, file)[1][0]["decision"] == "Declared"
    (result,) = check.json(allow, other, forbid, file)[1]
    assert (result["decision"], result["policy"]) == ("Stripped", "fl/study-a")


def test_a_policy_file_may_hold_several_documents(check: Check) -> None:
    both = POLICY.format(name="a", spec=ALLOWED) + "---" + POLICY.format(name="b", spec="{logStreaming: Forbidden}")
    policies = check.write("both.yaml", both)
    (result,) = check.json(f"--policy={policies}", check.write("config_fed_client.json", STREAMING))[1]
    assert (result["decision"], result["policy"]) == ("Stripped", "fl/b")


UNUSABLE = {
    "no such path": (["missing"], "sitelog check: missing: No such file or directory"),
    "no such manifest": (["missing.json"], "sitelog check: missing.json: No such file or directory"),
    "nothing in it": (["empty"], "nor a ConfigMap that has one"),
    "nothing in a manifest": (["map.yaml"], "nor a ConfigMap that has one"),
    "a name that does not tell": (["other.json"], "other.json: it cannot be read (Expecting property name"),
    "a text that does not tell": (["other.conf"], "add --key, such as --key config_fed_client.json"),
    "nothing at all": (["-"], "nor a ConfigMap that has one"),
    "a key that nobody looks into": (["--key=x.json", "other.json"], "--key x.json: the webhook does not look into it"),
    "no such policy": (["--policy=missing", "config_fed_client.json"], "missing"),
    "a policy of a bad duration": (["--policy=bad.yaml", "config_fed_client.json"], "spec.streamer.pollInterval"),
    "a policy that is none": (["--policy=map.yaml", "config_fed_client.json"], "no SiteLogPolicy"),
    "a policy that is a list": (["--policy=list.yaml", "config_fed_client.json"], "no Kubernetes object, but list"),
    "a policy without a word": (
        ["--policy=silent.yaml", "config_fed_client.json"],
        "spec.logStreaming: it is required",
    ),
    "a policy file with nothing in it": (
        ["--policy=nothing.yaml", "config_fed_client.json"],
        "nothing.yaml: no SiteLogPolicy in it",
    ),
    "labels that are none": (["labels.yaml"], "labels.yaml: a ConfigMap in it cannot be read: metadata.labels.a: "),
    "a policy without a name": (["--policy=nameless.yaml", "config_fed_client.json"], "metadata.name: it is required"),
    "a field of a policy that stands twice": (
        ["--policy=twice.yaml", "config_fed_client.json"],
        "twice.yaml: it cannot be read (the field 'logStreaming' stands twice in an object)",
    ),
    "a field of a policy in JSON that stands twice": (
        ["--policy=twice.json", "config_fed_client.json"],
        "twice.json: it cannot be read (the field 'spec' stands twice in an object)",
    ),
    "a folder with a ConfigMap that cannot be read": (["folder"], "folder/map.yaml: it is not YAML (line "),
    "a policy without sense": (["--policy=odd.yaml", "config_fed_client.json"], "odd.yaml"),
    "a manifest that is no YAML": (["broken.yaml"], "broken.yaml: it is not YAML (line "),
    "a manifest with bad base64": (["base64.yaml"], "binaryData.config_fed_client.json is not base64"),
    "data that is none": (["data.yaml"], "data.yaml"),
    "no path": ([], "Missing argument"),
    "an unknown option": (["--polizy=x", "config_fed_client.json"], "No such option"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_exit_code_2_and_named(check: Check, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(check.folder)
    (check.folder / "empty").mkdir()
    check.write("config_fed_client.json", PLAIN)
    check.write("other.json", "{")
    check.write("other.conf", "components = []")
    check.write("bad.yaml", POLICY.format(name="bad", spec="{logStreaming: Allowed, streamer: {pollInterval: soon}}"))
    check.write("silent.yaml", POLICY.format(name="silent", spec="{logStreeming: Forbidden}"))
    check.write("nothing.yaml", "---\n---\n")
    check.write("nameless.yaml", POLICY.format(name="''", spec=ALLOWED))
    check.write("twice.yaml", POLICY.format(name="twice", spec="{logStreaming: Forbidden, logStreaming: Allowed}"))
    check.write("twice.json", '{"spec": {}, "spec": {}}')
    check.write("folder/map.yaml", "kind: ConfigMap\ndata: [")
    odd_labels = {**manifest("one", data={"config_fed_client.json": PLAIN}), "metadata": {"labels": {"a": 1}}}
    check.write("labels.yaml", yaml.safe_dump(odd_labels))
    check.write("odd.yaml", POLICY.format(name="odd", spec=ALLOWED).replace("name: odd", "name: odd, generation: x"))
    check.write("map.yaml", yaml.safe_dump(manifest("one", data={})))
    check.write("list.yaml", "[1, 2]")
    check.write("broken.yaml", "a: [")
    check.write("base64.yaml", yaml.safe_dump(manifest("one", binaryData={"config_fed_client.json": "x"})))
    check.write("data.yaml", yaml.safe_dump(manifest("one", data=["config_fed_client.json"])))
    args, part = UNUSABLE[name]
    code, out, err = check.run(*args)
    assert (code, out) == (2, "")
    assert not err.startswith("sitelog check: ") or err.count("\n") == 1
    assert part in " ".join(err.replace("│", " ").split())


def test_a_person_gets_the_reason_in_a_sentence(check: Check) -> None:
    file = check.write("config_fed_client.json", OWNED)
    code, out, _ = check.run(check.policy("{logStreaming: Forbidden}"), file)
    assert code == 1
    assert f"Refused     {file}" in out
    assert "components[0].args.x is a JobLogStreamer that its owner needs; remove it from the job" in out


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["ConfigMap", PLAIN, "\ud800"]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from([*MANIFEST_KEYS, "config_fed_client.json", "a"]), below, max_size=4)
    ),
    max_leaves=12,
)


@given(trees, st.binary(max_size=30), st.booleans())
@settings(max_examples=50)
def test_whatever_is_given_it_answers(tree: Any, raw: bytes, as_policy: bool) -> None:  # noqa: FBT001
    """Objects of any shape, and any bytes: a decision, or one line that says what is wrong."""
    documents = (json.dumps(tree), json.dumps({"kind": "ConfigMap", "metadata": {}, "data": tree}), raw)
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Path(folder))
        configuration = check.write("config_fed_client.json", PLAIN)
        for document in documents:
            asked: tuple[object, ...] = ("--policy=-", configuration) if as_policy else ("-",)
            code, _, err = check.run(*asked, given=document)
            assert code in {0, 1, 2}
            assert err.count("\n") == (code == 2)
