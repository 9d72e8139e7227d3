"""Decisions against NVFlare's own SiteLogStreamer: the same, wherever that neither crashes nor does harm."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nvflare
import pytest
from hypothesis import example, given
from nvflare.fuel.utils.config_factory import ConfigFactory

from sitelog.core.jobconfig.formats import Format, read
from sitelog.core.jobconfig.streamer import entry
from sitelog.core.jobconfig.verdict import judge
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.policy import LogStreaming, Streamer
from support.inputs.configurations import MINIMAL, NAMESAKE, PART, STREAMER, plain, plain_texts, streamers, values
from support.inputs.hypothesis_profiles import at_least
from support.oracle.nvflare_loader import NvflareLoader
from support.oracle.seed import Seed

ALLOWED, FORBIDDEN = LogStreaming.ALLOWED, LogStreaming.FORBIDDEN
DEFAULTS = Streamer()
TAKEN = {**MINIMAL, "components": [{"id": "auto_log_streamer", "path": PART}]}
BY_CLASS_PATH = {**MINIMAL, "components": [{"id": "s", "class_path": STREAMER}]}
LIKE_NAMED = {**MINIMAL, "components": [{"id": "n", "path": NAMESAKE}]}
SAMPLES = sorted((Path(nvflare.__file__).parent).rglob("config_fed_client.*"))


@pytest.fixture(scope="module")
def seed() -> Iterator[Seed]:
    oracle = Seed()
    yield oracle
    oracle.close()


@pytest.fixture(scope="module")
def load() -> Iterator[NvflareLoader]:
    loader = NvflareLoader()
    yield loader
    loader.close()


def builds(load: NvflareLoader, part: dict[str, Any]) -> bool:
    """Ask NVFlare whether this part of a configuration makes it build a class of the streamer's name."""
    classes = load(json.dumps({"format_version": 2, **part})).classes
    return any(name.rpartition(".")[2] == "JobLogStreamer" for name in classes)


def is_streamer(load: NvflareLoader, component: Any) -> bool:
    """Ask NVFlare whether a component is one itself, switched on or off."""
    return builds(load, {"components": [{**component, "disabled": False, "args": {}}]})


def sections(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Take a configuration apart, so that NVFlare's loader cannot stop before it gets to some part."""
    yield from ({"components": [component]} for component in config.get("components") or [])
    yield from ({key: part} for key, part in config.items() if key not in ("components", "format_version"))


def has_the_word(component: Any) -> bool:
    """Tell, as SiteLogStreamer does, whether a component is one."""
    return "JobLogStreamer" in component.get("path", "")


def text_of(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Give a configuration as `plain_texts` draws it."""
    return config, json.dumps(config)


dumped = json.dumps  # to compare: the order of keys counts, and NaN is equal to itself


def same(text: str, other: str) -> bool:
    """Whether two texts hold the same value."""
    return dumped(json.loads(text)) == dumped(json.loads(other))


# --- Allowed -------------------------------------------------------------------------------------------------------
def test_allowed_is_what_the_seed_does(seed: Seed, load: NvflareLoader) -> None:
    seen: Counter[str] = Counter()

    # What chance draws depends on which tests ran before in the process: one of each kind is always tried.
    @example(text_of(TAKEN), DEFAULTS)
    @example(text_of(BY_CLASS_PATH), DEFAULTS)
    @example(text_of(LIKE_NAMED), DEFAULTS)
    @at_least(2000)
    @given(plain_texts(), streamers)
    def compare(drawn: tuple[dict[str, Any], str], parameters: Streamer) -> None:
        config, text = drawn
        theirs, ours = seed(text, ALLOWED, parameters), judge(text, ALLOWED, parameters)
        assert ours.text is not None
        if theirs.crashed or any("Failed" in line for line in theirs.log):
            seen["crashed"] += 1
            return
        if same(theirs.text, text):
            seen["untouched"] += 1
        if same(ours.text, theirs.text):
            seen["equal"] += 1
            assert ours.text == text or not same(theirs.text, text), "a text that needs no change keeps its bytes"
            return
        seen[_harm_of_injecting(load, config, theirs.text, ours.text, parameters)] += 1

    compare()
    assert seen["equal"] > 1000
    assert min(seen[harm] for harm in ("duplicate id", "second streamer", "namesake")) > 0, seen


def _harm_of_injecting(
    load: NvflareLoader, config: dict[str, Any], theirs: str, ours: str, parameters: Streamer
) -> str:
    """Name the harm that SiteLogStreamer does here, and check that ours is what does none."""
    entries = config.get("components") or []
    if same(theirs, json.dumps(config)):
        # (c) It takes for a streamer what only has the word in its path, or is switched off.
        counted = next(component for component in entries if has_the_word(component))
        assert not is_streamer(load, counted) or counted.get("disabled") is True
        *others, added = json.loads(ours)["components"]
        assert dumped([*others, added | {"id": ""}]) == dumped([*entries, entry(parameters, "")])
        return "namesake"
    if same(ours, json.dumps(config)):
        # (b) It adds one beside another that is declared in a way that it does not see.
        assert any(is_streamer(load, component) for component in entries if component) or any(
            builds(load, section) for section in sections(config)
        )
        return "second streamer"
    # (a) It gives the new one an id that is taken.
    (*others, their_own), (*same_others, our_own) = (json.loads(text)["components"] for text in (theirs, ours))
    assert dumped(others) == dumped(same_others) == dumped(entries)
    assert their_own == entry(parameters, "auto_log_streamer")
    assert our_own == entry(parameters, our_own["id"])
    ids = dict.fromkeys(component["id"] for component in entries if component)
    for added, failure in ((their_own, 'duplicate component id "auto_log_streamer"'), (our_own, "None")):
        with_ids = [*({"id": name, "path": PART} for name in ids), added]
        assert failure in str(load(json.dumps({**MINIMAL, "components": with_ids})).failed)
    return "duplicate id"


# --- Forbidden -----------------------------------------------------------------------------------------------------
def test_forbidden_is_what_the_seed_does(seed: Seed, load: NvflareLoader) -> None:
    seen: Counter[str] = Counter()

    @example(text_of(BY_CLASS_PATH))
    @example(text_of(LIKE_NAMED))
    @at_least(2000)
    @given(plain_texts())
    def compare(drawn: tuple[dict[str, Any], str]) -> None:
        config, text = drawn
        theirs, ours = seed(text, FORBIDDEN), judge(text, FORBIDDEN, DEFAULTS)
        if theirs.crashed or any("Failed" in line for line in theirs.log):
            seen["crashed"] += 1
            return
        # It writes an empty list where there was none, if it strips something, which it cannot.
        if ours.text is not None and same(ours.text, theirs.text):
            seen["equal"] += 1
            assert ours.text == text or not same(theirs.text, text), "a text that needs no change keeps its bytes"
            return
        seen[_harm_of_stripping(load, config, theirs.text, ours.text)] += 1

    compare()
    assert seen["equal"] > 1000
    assert min(seen[harm] for harm in ("left", "owned", "namesake")) > 0, seen


def _harm_of_stripping(load: NvflareLoader, config: dict[str, Any], theirs: str, ours: str | None) -> str:
    """Name the harm that SiteLogStreamer does here, and check that ours is what does none."""
    entries = config.get("components") or []
    if ours is None:
        # (d) It leaves one that something else needs: nothing can be taken out, the job has to be changed.
        left = [c for c in entries if not (has_the_word(c) and is_streamer(load, c))]
        assert any(builds(load, section) for section in sections({**config, "components": left}))
        return "owned"
    stays, harms = [], []
    for component in entries:
        word, streams = has_the_word(component), is_streamer(load, component)
        if word and not streams:
            harms.append("namesake")  # (c) what only has the word in its path goes too
        if streams and not word:
            harms.append("left")  # (d) declared in a way that it does not see
        if not streams:
            stays.append(component)
    assert harms
    assert dumped(json.loads(ours)) == dumped({**config, "components": stays})
    return harms[0]


# --- what is better, by name -----------------------------------------------------------------------------------------
def test_a_job_with_a_component_of_the_streamers_id_still_starts(seed: Seed, load: NvflareLoader) -> None:
    text = json.dumps(TAKEN)
    assert "duplicate component id" in str(load(seed(text, ALLOWED).text).failed)
    verdict = judge(text, ALLOWED, DEFAULTS)
    assert verdict.text is not None
    after = load(verdict.text)
    assert (after.failed, after.streamers) == (None, 1)
    assert list(after.components) == ["auto_log_streamer", "auto_log_streamer_2"]


@pytest.mark.parametrize(
    "config",
    [
        BY_CLASS_PATH,
        {**MINIMAL, "v": STREAMER, "components": [{"id": "s", "path": "{v}"}]},
        {**MINIMAL, "components": [{"id": "p", "path": PART, "args": {"x": {"path": STREAMER}}}]},
        {**MINIMAL, "components.#1": {"id": "s", "path": STREAMER}},
    ],
)
def test_a_job_that_streams_already_gets_no_second_streamer(
    seed: Seed, load: NvflareLoader, config: dict[str, Any]
) -> None:
    text = json.dumps(config)
    assert load(seed(text, ALLOWED).text).streamers == 2
    verdict = judge(text, ALLOWED, DEFAULTS)
    assert (verdict.decision, verdict.text) == (Decision.DECLARED, text)


def test_a_class_that_merely_has_the_word_in_its_name_is_another_class(seed: Seed, load: NvflareLoader) -> None:
    text = json.dumps(LIKE_NAMED)
    assert seed(text, FORBIDDEN).value["components"] == []
    assert judge(text, FORBIDDEN, DEFAULTS).text == text
    assert load(seed(text, ALLOWED).text).streamers == 0
    verdict = judge(text, ALLOWED, DEFAULTS)
    assert verdict.text is not None
    assert load(verdict.text).streamers == 1


def test_no_streamer_is_left_where_they_are_forbidden(seed: Seed, load: NvflareLoader) -> None:
    text = json.dumps(BY_CLASS_PATH)
    assert load(seed(text, FORBIDDEN).text).streamers == 1
    verdict = judge(text, FORBIDDEN, DEFAULTS)
    assert verdict.text is not None
    assert load(verdict.text).streamers == 0


# --- properties ------------------------------------------------------------------------------------------------------
@given(plain(), values, streamers)
def test_injecting_twice_is_injecting_once(config: dict[str, Any], more: Any, parameters: Streamer) -> None:
    once = judge(json.dumps({**config, "more": more}), ALLOWED, parameters)
    assert once.text is not None
    twice = judge(once.text, ALLOWED, parameters)
    assert twice.text == once.text
    stamped = judge(once.text, ALLOWED, parameters, injected_before=once.decision is Decision.INJECTED)
    assert (stamped.text, stamped.decision) == (once.text, once.decision)


@given(plain(), values)
def test_stripping_twice_is_stripping_once(config: dict[str, Any], more: Any) -> None:
    once = judge(json.dumps({**config, "more": more}), FORBIDDEN, DEFAULTS)
    if once.text is not None:
        twice = judge(once.text, FORBIDDEN, DEFAULTS)
        assert (twice.text, twice.decision) == (once.text, Decision.CLEAN)


@at_least(500)
@given(plain(), values, streamers)
def test_stripping_what_was_injected_gives_the_job_as_it_was(
    config: dict[str, Any], more: Any, parameters: Streamer
) -> None:
    config = {**config, "more": more}
    injected = judge(json.dumps(config), ALLOWED, parameters)
    if injected.decision is not Decision.INJECTED or injected.text is None:
        return
    stripped = judge(injected.text, FORBIDDEN, DEFAULTS)
    before = judge(json.dumps(config), FORBIDDEN, DEFAULTS)  # one that is switched off goes, too
    assert stripped.text is not None
    assert before.text is not None
    empty = {"components": []} if config.get("components") is None else {}
    assert json.dumps(json.loads(stripped.text)) == json.dumps({**json.loads(before.text), **empty})


@given(streamers, streamers)
def test_our_own_streamer_follows_the_policy(before: Streamer, after: Streamer) -> None:
    first = judge(json.dumps(MINIMAL), ALLOWED, before)
    assert first.text is not None
    second = judge(first.text, ALLOWED, after, injected_before=True)
    assert (second.decision, second.reason) == (Decision.INJECTED, Reason.STREAMER_INJECTED)
    assert second.text == judge(json.dumps(MINIMAL), ALLOWED, after).text


# --- every sample inside NVFlare -------------------------------------------------------------------------------------
def as_json(sample: Path) -> str:
    return json.dumps(ConfigFactory.load_config(str(sample)).to_dict())


def test_nvflare_has_its_samples() -> None:
    assert len(SAMPLES) > 30


@pytest.mark.parametrize("log_streaming", LogStreaming)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_a_sample_of_nvflares(seed: Seed, sample: Path, log_streaming: LogStreaming) -> None:
    text = as_json(sample)
    theirs, ours = seed(text, log_streaming), judge(text, log_streaming, DEFAULTS)
    assert theirs.crashed is None
    assert ours.text is not None
    assert same(ours.text, theirs.text)
    # The file itself, as it is written: the same value as if it were JSON.
    original = sample.read_text()
    itself = judge(original, log_streaming, DEFAULTS, Format.HOCON)
    assert itself.text is not None
    assert read(itself.text, Format.HOCON).config == json.loads(theirs.text)
    if log_streaming is FORBIDDEN:
        assert itself.text == original
