"""The third lock: a site's own resources.json, read by NVFlare's own configuration service."""

import bisect
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.fl_constant import SystemConfigs
from nvflare.app_common.logging.constants import is_log_streaming_allowed
from nvflare.fuel.utils.config_service import ConfigService

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.decide import decide, may_concern
from sitelog.core.configmap.outcome import Outcome
from sitelog.core.names import ANNOTATION_SITE_VALUE, Decision, Reason
from sitelog.core.policy.effective import effective
from sitelog.core.policy.policy import LogStreaming, Mode, Policy
from sitelog.kube.configmaps import parse_configmap
from support.federation.federation import SITE, Federation
from support.federation.staged_site import staged_local

ALLOWED = Policy("fl", "site")
ERROR_LOG_ONLY = replace(ALLOWED, log_streaming=LogStreaming.ERROR_LOG_ONLY)  # the server is to take what we upload
FORBIDDEN = replace(ALLOWED, log_streaming=LogStreaming.FORBIDDEN)
KEY = "resources.json"
BASE = {"format_version": 2, "client": {"retry_timeout": 30}, "components": []}
TRUE, FALSE, NEVER = True, False, object()  # the site does not say it


def text(value: object = NEVER, **more: Any) -> str:
    """A client's resources.json, not laid out as Sitelog would."""
    said = {} if value is NEVER else {"allow_log_streaming": value}
    return json.dumps({**BASE, **said, **more}, indent=1)


def site(value: object = NEVER, **more: Any) -> ConfigMap:
    return ConfigMap("fl", "nvflare-local-site-1", data={KEY: text(value)}, **more)


def after(configmap: ConfigMap, outcome: Outcome) -> ConfigMap:
    """The object as it is stored then."""
    raw = {key: outcome.texts.get(key, "").encode() or raw for key, raw in configmap.binary_data.items()}
    stored = {key: outcome.texts.get(key, text) for key, text in configmap.data.items()}
    return replace(
        configmap,
        data=stored,
        binary_data=raw,
        provenance={**configmap.provenance, **outcome.labels, **outcome.annotations},
    )


def decided(configmap: ConfigMap, *policies: Policy) -> ConfigMap:
    return after(configmap, decide(configmap, effective(policies, {})))


def allowed(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether NVFlare's client, with these files in local/, may stream."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    name = KEY if KEY in files else f"{KEY}.default"
    ConfigService.reset()
    try:
        ConfigService.initialize({SystemConfigs.RESOURCES_CONF: name}, [str(folder)])
        return bool(is_log_streaming_allowed())
    finally:
        ConfigService.reset()


@pytest.mark.parametrize(
    "value",
    [NEVER, True, "yes", 1, None, 0.5, [], "no", 0],
    ids=lambda value: "absent" if value is NEVER else repr(value),
)
def test_a_prohibition_reaches_nvflare_and_leaves_no_trace(value: object, tmp_path: Path) -> None:
    off = decided(site(value), FORBIDDEN)
    assert not allowed(tmp_path, {KEY: off.data[KEY].encode()})
    expected = {**BASE, "allow_log_streaming": False}
    assert json.loads(off.data[KEY]) == expected
    assert off.provenance["sitelog.dev/decision"] == "SwitchedOff"
    assert decided(off, FORBIDDEN) == off

    on = decided(off, ALLOWED)
    assert json.loads(on.data[KEY]) == json.loads(text(value))
    assert not decide(on, effective([ALLOWED], {})).texts


@pytest.mark.parametrize(
    "value", [NEVER, True, "yes", 1], ids=lambda value: "absent" if value is NEVER else repr(value)
)
@pytest.mark.parametrize("before", [ALLOWED, FORBIDDEN], ids=["Allowed", "Forbidden"])
def test_error_log_only_leaves_the_answer_to_each_job_pods_environment(
    before: Policy, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVFlare's own provisioning writes true, and that goes before the environment."""
    deferring = decided(decided(site(value), before), ERROR_LOG_ONLY)
    assert json.loads(deferring.data[KEY]) == BASE
    assert allowed(tmp_path, {KEY: deferring.data[KEY].encode()})  # the site's own process sends error logs
    monkeypatch.setenv("NVFLARE_ALLOW_LOG_STREAMING", "false")
    assert not allowed(tmp_path, {KEY: deferring.data[KEY].encode()})

    assert decided(deferring, ERROR_LOG_ONLY) == deferring
    assert json.loads(decided(deferring, FORBIDDEN).data[KEY]) == {**BASE, "allow_log_streaming": False}
    for back in (decided(deferring, ALLOWED), decided(decided(deferring, FORBIDDEN), ALLOWED)):
        assert json.loads(back.data[KEY]) == json.loads(text(value))


@pytest.mark.parametrize("value", [False, "no", "", 0], ids=repr)
def test_a_sites_own_word_stays_and_is_told(value: object, tmp_path: Path) -> None:
    assert not allowed(tmp_path, {KEY: text(value).encode()})
    outcome = decide(site(value), effective([ALLOWED], {}))
    assert (outcome.decision, outcome.reason, outcome.texts) == (Decision.SITE_FORBIDS, Reason.SITE_FORBIDS, {})
    assert outcome.warnings == (outcome.message,)
    assert outcome.message == (
        "ConfigMap fl/nvflare-local-site-1: the site's own resources.json has allow_log_streaming false, which stays,"
        " although SiteLogPolicy fl/site says Allowed"
    )
    back = decided(decided(decided(site(value), ALLOWED), FORBIDDEN), ALLOWED)
    assert json.loads(back.data[KEY]) == json.loads(text(value))
    assert back.provenance["sitelog.dev/decision"] == "SiteForbids"


def test_a_site_that_says_false_during_a_prohibition_keeps_it() -> None:
    off = decided(site(TRUE), FORBIDDEN)
    own = replace(off, data={KEY: text(FALSE)})
    assert json.loads(decided(decided(own, FORBIDDEN), ALLOWED).data[KEY])["allow_log_streaming"] is False
    assert json.loads(decided(own, ALLOWED).data[KEY])["allow_log_streaming"] is False


writes = st.tuples(
    st.sampled_from([KEY, f"{KEY}.default"]), st.sampled_from([NEVER, True, False, "no", 0]), st.integers(0, 9)
)
steps = st.lists(st.one_of(writes, st.sampled_from([ALLOWED, ERROR_LOG_ONLY, FORBIDDEN])), max_size=12)


@given(steps)
def test_whatever_happens_the_sites_own_words_come_back(story: list[Any]) -> None:
    """Policies flip while the site rewrites one file or the other; all is as the site wrote it once it is allowed."""
    policy, wanted = ALLOWED, {KEY: text(), f"{KEY}.default": text(TRUE)}
    configmap = decided(ConfigMap("fl", "any", data=dict(wanted)), policy)
    for step in story:
        if isinstance(step, Policy):
            policy = step
        else:
            key, value, number = step
            wanted[key] = text(value, number=number)
            configmap = replace(configmap, data={**configmap.data, key: wanted[key]})
        configmap = decided(configmap, policy)
        for key, own in wanted.items():
            found = json.loads(configmap.data[key])
            says = json.loads(own)
            if policy is FORBIDDEN:
                says["allow_log_streaming"] = False
            elif policy is ERROR_LOG_ONLY and says.get("allow_log_streaming") is True:
                del says["allow_log_streaming"]
            assert found == says
        outcome = decide(configmap, effective([policy], {}))
        assert after(configmap, outcome) == configmap


@pytest.mark.parametrize(
    "data",
    [
        {KEY: json.dumps({"format_version": 2, "servers": [{}], "components": []})},
        {KEY: json.dumps({"client": {"a": 1}})},
        {KEY: "[]"},
        {KEY: "{"},
        {"f0004-000000000000-resources.json": text()},
        {"my-resources.json": text()},
        {"resources.jsonx": text()},
        {"fed_client.json": text()},
    ],
    ids=["server", "other", "list", "broken", "folder below", "other name", "longer name", "startup"],
)
def test_what_is_no_clients_resources_is_left_alone(data: dict[str, str]) -> None:
    configmap = ConfigMap("fl", "any", data=data)
    for policy in (ALLOWED, FORBIDDEN):
        outcome = decide(configmap, effective([policy], {}))
        assert outcome.decision is Decision.UNGOVERNED
        assert (outcome.texts, outcome.labels, outcome.annotations, outcome.warnings) == ({}, {}, {}, ())
    assert may_concern(data) is (KEY in data)


def test_an_immutable_one_is_reported_and_the_report_is_taken_back() -> None:
    frozen = site(TRUE, immutable=True)
    outcome = decide(frozen, effective([FORBIDDEN], {}))
    assert (outcome.decision, outcome.reason, outcome.texts) == (Decision.REFUSED, Reason.IMMUTABLE, {})
    assert outcome.message == (
        "ConfigMap fl/nvflare-local-site-1: it is immutable, and its allow_log_streaming lets jobs stream; delete it"
        " and create it again"
    )
    assert decide(site(FALSE, immutable=True), effective([FORBIDDEN], {})).decision is Decision.SWITCHED_OFF
    assert decided(after(frozen, outcome), ALLOWED).provenance["sitelog.dev/decision"] == "SwitchedOn"


def test_one_that_can_be_read_but_not_written_again_is_refused() -> None:
    """Python reads a little deeper than it writes: somewhere below its limit is such a text."""

    def at(depth: int) -> Outcome:
        deep = text().replace('"components": []', f'"components": {"[" * depth}{"]" * depth}')
        return decide(ConfigMap("fl", "any", data={KEY: deep}), effective([FORBIDDEN], {}))

    about = bisect.bisect_left(range(1000), x=1, key=lambda depth: at(depth).policy is None)
    found = [(outcome.decision, outcome.reason) for outcome in map(at, range(about - 9, about + 9))]
    assert list(dict.fromkeys(found)) == [
        (Decision.SWITCHED_OFF, Reason.SITE_SWITCHED_OFF),
        (Decision.REFUSED, Reason.TOO_DEEP),
        (Decision.UNGOVERNED, Reason.NO_POLICY),  # NVFlare cannot read it either
    ]


@pytest.mark.parametrize("note", ["{", "[]", "7", '{"resources.json": 1}', '{"resources.json": {"value": true}}'])
def test_a_note_that_is_not_ours_is_no_note(note: str) -> None:
    configmap = site(FALSE, provenance={ANNOTATION_SITE_VALUE: note})
    assert decide(configmap, effective([ALLOWED], {})).decision is Decision.SITE_FORBIDS


def test_dry_run_tells_what_enforce_does() -> None:
    rehearsing = replace(FORBIDDEN, name="rehearses", mode=Mode.DRY_RUN)
    for configmap in (site(), site(TRUE), site(FALSE), site(TRUE, immutable=True), decided(site(), ALLOWED)):
        for enforced in ([], [ALLOWED]):
            outcome = decide(configmap, effective([*enforced, rehearsing], {}))
            alone = decide(configmap, effective(enforced, {}))
            assert (outcome.decision, outcome.texts, outcome.labels) == (alone.decision, alone.texts, alone.labels)
            then = decide(configmap, effective([*enforced, replace(rehearsing, mode=Mode.ENFORCE)], {}))
            assert outcome.dry_run is not None
            assert (outcome.dry_run.decision, outcome.dry_run.texts) == (then.decision, then.texts)
            assert outcome.warnings[-1] == (
                f"DryRun of SiteLogPolicy fl/rehearses: would be {then.decision.value}. {then.message}"
            )


def test_what_nvflares_own_tools_stage(tmp_path: Path) -> None:
    federation = Federation(tmp_path / "federation")
    site_map = parse_configmap(staged_local(federation.workspace(SITE), tmp_path / "site", "fl"))
    (key,) = (key for key in site_map.binary_data if "resources.json" in key)
    assert may_concern(site_map.binary_data)
    folder = tmp_path / "local"
    folder.mkdir()
    name = f"{KEY}.default"
    assert allowed(folder, {name: site_map.binary_data[key]})

    off = decided(site_map, FORBIDDEN)
    assert not allowed(folder, {name: off.binary_data[key]})
    before, now = (json.loads(found.binary_data[key]) for found in (site_map, off))
    assert now == {**before, "allow_log_streaming": False}
    assert {**off.binary_data, key: b""} == {**site_map.binary_data, key: b""}
    on = decided(off, ALLOWED)
    assert json.loads(on.binary_data[key]) == before
    assert allowed(folder, {name: on.binary_data[key]})

    server = parse_configmap(staged_local(federation.workspace("localhost"), tmp_path / "server", "fl"))
    assert may_concern(server.binary_data)
    assert decide(server, effective([FORBIDDEN], {})).decision is Decision.UNGOVERNED
