"""SiteLogPolicy objects from JSON: what is taken, what is refused with which words, and what stays in force then."""

from typing import Any

import pytest

from sitelog.core.names import GROUP, KIND, VERSION
from sitelog.core.policy.governed import Governed
from sitelog.core.policy.policy import Capture, ErrorLog, Gate, LogStreaming, Mode, Policy, Server, Streamer
from sitelog.core.policy.selector import Requirement, Selector
from sitelog.kube.policies import PolicyError, parse_policy
from sitelog.kube.policy_store import PolicyStore


def body(spec: Any, name: str = "site", namespace: str = "fl") -> dict[str, Any]:
    """Make a policy; a spec without a word gets Allowed."""
    spec = {"logStreaming": "Allowed", **spec} if isinstance(spec, dict) else spec
    return exactly(spec, name, namespace)


def exactly(spec: Any, name: str = "site", namespace: str = "fl") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}


def test_a_policy_that_says_no_more_than_its_word_has_the_seeds_defaults() -> None:
    assert parse_policy(body({})) == Policy("fl", "site", 2, "2026-01-01T00:00:00Z")


def test_every_field_is_read() -> None:
    found = parse_policy(
        body(
            {
                "logStreaming": "Allowed",
                "mode": "DryRun",
                "priority": 7,
                "selector": {
                    "matchLabels": {"app": "a"},
                    "matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["y"]}],
                },
                "clientName": "Klinikum-Süd",
                "gate": "Injected",
                "streamer": {"logFileName": "error_log.txt", "livenessInterval": "1s500ms", "pollInterval": "250ms"},
                "errorLog": {
                    "upload": "Enabled",
                    "courierSecretName": "courier",
                    "server": {"host": "fl.example", "port": 8002},
                    "capture": "ContainerLog",
                    "maxBytes": 4096,
                    "image": "sitelog:1",
                    "ttlSecondsAfterFinished": 60,
                },
            }
        )
    )
    assert (found.mode, found.priority, found.client_name) == (Mode.DRY_RUN, 7, "Klinikum-Süd")
    assert found.selector == Selector({"app": "a"}, (Requirement("x", "NotIn", ("y",)),))
    assert found.streamer == Streamer("error_log.txt", 1.5, 0.25)
    assert found.gate is Gate.INJECTED
    assert found.error_log == ErrorLog(
        upload=True,
        courier_secret_name="courier",
        server=Server("fl.example", 8002),
        capture=Capture.CONTAINER_LOG,
        max_bytes=4096,
        image="sitelog:1",
        ttl_seconds=60,
    )


BAD = {
    "a bad duration": ({"streamer": {"pollInterval": "5 parsecs"}}, "spec.streamer.pollInterval: '5 parsecs'"),
    "a duration without unit": ({"streamer": {"pollInterval": 5}}, "write it like 10s, 500ms or 1m30s"),
    "no time at all": ({"streamer": {"livenessInterval": "0s"}}, "spec.streamer.livenessInterval: "),
    "beyond the receiver's patience": ({"streamer": {"livenessInterval": "30s"}}, "less than 30"),
    "a heartbeat before a look": (
        {"streamer": {"livenessInterval": "1s", "pollInterval": "2s"}},
        "spec.streamer: pollInterval must be at most livenessInterval",
    ),
    "a file elsewhere": ({"streamer": {"logFileName": "../log.txt"}}, "spec.streamer.logFileName: "),
    "a file that is none": (
        {"streamer": {"logFileName": ".."}},
        "spec.streamer.logFileName: '..' is the name of a folder",
    ),
    "another word": (
        {"logStreaming": "allowed"},
        "spec.logStreaming: Input should be 'Allowed', 'ErrorLogOnly' or 'Forbidden'",
    ),
    "a word that is none": ({"logStreaming": ["Forbidden"]}, "spec.logStreaming: "),
    "a field that is unknown": (
        {"errorLog": {"uplaod": "Enabled"}},
        "spec.errorLog.uplaod: SiteLogPolicy has no such field; correct its name or remove it",
    ),
    "an upload without a courier": (
        {"clientName": "a", "errorLog": {"upload": "Enabled"}},
        "spec.errorLog: upload Enabled needs courierSecretName",
    ),
    "an upload without a client": (
        {"errorLog": {"upload": "Enabled", "courierSecretName": "c"}},
        "spec: errorLog.upload Enabled needs clientName",
    ),
    "a number in words": ({"priority": "7"}, "spec.priority: "),
    "values without a comparison": (
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "spec.selector.matchExpressions.0: values belong to the operators In and NotIn, and to no other",
    ),
    "a client with white space": ({"clientName": "a b"}, "spec.clientName: "),
    "an operator that is none": (
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
        "spec.selector.matchExpressions.0.operator: ",
    ),
    "a spec that is none": ("Forbidden", "spec: "),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_policy_is_named_with_its_field(name: str) -> None:
    spec, part = BAD[name]
    with pytest.raises(PolicyError) as refusal:
        parse_policy(body(spec))
    assert str(refusal.value).startswith("SiteLogPolicy fl/site: ")
    assert part in str(refusal.value)
    assert refusal.value.fallback is None


@pytest.mark.parametrize("spec", [{}, None, {"logStreeming": "Forbidden"}, {"mode": "DryRun"}])
def test_nobody_allows_by_saying_nothing(spec: Any) -> None:
    with pytest.raises(PolicyError, match=r"spec\.logStreaming: it is required") as refusal:
        parse_policy(exactly(spec))
    assert refusal.value.fallback is None, "and nobody forbids so either"


OURS = [
    {"matchLabels": {"sitelog.dev/client": "site-1"}},
    {"matchExpressions": [{"key": "sitelog.dev/job", "operator": "Exists"}]},
]


@pytest.mark.parametrize("selector", OURS)
def test_a_selector_on_labels_that_sitelog_writes_is_none(selector: dict[str, Any]) -> None:
    with pytest.raises(
        PolicyError, match=r"spec\.selector\.match.*: Sitelog itself writes the labels sitelog\.dev/"
    ) as no:
        parse_policy(body({"selector": selector}))
    assert no.value.fallback is None
    with pytest.raises(PolicyError) as no:
        parse_policy(body({"selector": selector, "logStreaming": "Forbidden"}))
    assert no.value.fallback
    assert no.value.fallback.selector == Selector(), "the pods that it is meant for have no such label yet"


@pytest.mark.parametrize("change", [{"apiVersion": "v1"}, {"kind": "ConfigMap"}, {"apiVersion": None}])
def test_another_kind_is_no_policy(change: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=r"'fl/site' is no SiteLogPolicy of sitelog.dev/v1alpha1"):
        parse_policy({**body({}), **change})


@pytest.mark.parametrize("mode", ["Enforce", "DryRun"])
@pytest.mark.parametrize(
    "log_streaming", [log_streaming for log_streaming in LogStreaming if log_streaming.prohibits_streamer]
)
def test_a_prohibition_stays_in_force_whatever_else_cannot_be_read(log_streaming: LogStreaming, mode: str) -> None:
    spec = {
        "logStreaming": log_streaming.value,
        "mode": mode,
        "selector": {"matchLabels": {"a": 1}},
        "priority": "high",
    }
    with pytest.raises(PolicyError) as refusal:
        parse_policy(body(spec))
    kept = refusal.value.fallback
    assert kept is not None
    assert (kept.key, kept.log_streaming, kept.mode) == ("fl/site", log_streaming, Mode(mode))
    assert kept.selector.matches({"anything": "else"}), "with the widest selector"


def test_the_store_follows_the_watch() -> None:
    store = PolicyStore(Governed("sitelog-system"))
    assert not store.synced
    store.replace(
        [body({}, "a"), body({"priority": "x"}, "b"), body({"priority": "x", "logStreaming": "Forbidden"}, "c")]
    )
    assert store.synced
    assert {policy.name for policy in store.policies} == {"a", "c"}
    assert "spec.priority" in str(store.problem("fl", "b"))
    assert "spec.priority" in str(store.problem("fl", "c"))
    assert store.problem("fl", "a") is None
    store.put(body({"priority": 1}, "b"))
    assert store.problem("fl", "b") is None
    store.put(body({"priority": "x"}, "a"))
    store.drop(body({}, "c"))
    assert {policy.name for policy in store.policies} == {"b"}
    store.replace([])
    assert (tuple(store.policies), store.problem("fl", "a")) == ((), None)


def test_what_is_known_of_a_namespace_stays_while_it_may_not_be_read() -> None:
    store = PolicyStore(Governed("sitelog-system", frozenset({"fl", "other"})))
    other = {"metadata": {"name": "a", "namespace": "other"}}
    store.replace([body({}, "a"), body({"priority": "x"}, "b"), {**body({}, "a"), **other}])
    store.replace([], unread={"fl"})
    assert [policy.key for policy in store.policies] == ["fl/a"]
    assert "spec.priority" in str(store.problem("fl", "b"))
    assert store.unread == {"fl"}
    store.replace([])
    assert (tuple(store.policies), store.problem("fl", "b"), store.unread) == ((), None, frozenset())
