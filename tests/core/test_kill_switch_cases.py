"""Configurations that once got past the kill switch, or were refused or harmed for nothing, each by its name.

Judged by NVFlare's own loader with START_RUN fired, with and without the second lock.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sitelog.core.jobconfig.formats import format_of
from sitelog.core.jobconfig.verdict import Verdict, judge
from sitelog.core.names import Decision
from sitelog.core.policy.policy import LogStreaming, Streamer
from support.oracle import torch_stand_in
from support.oracle.nvflare_loader import Loaded, NvflareLoader

CASES = json.loads((Path(__file__).parents[1] / "data" / "kill-switch" / "cases.json").read_text())["cases"]


def of_kind(*kinds: str) -> Any:
    cases = [case for case in CASES if case["kind"] in kinds]
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[NvflareLoader]:
    torch_stand_in.put(monkeypatch)
    loader = NvflareLoader()
    yield loader
    loader.close()


def loaded(load: NvflareLoader, case: dict[str, Any], text: str, *, locked: bool = False) -> Loaded:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in case.get("job_env", {}).items():
            patch.setenv(name, value)
        if locked:
            patch.setenv("NVFLARE_ALLOW_LOG_STREAMING", "false")
        return load(text, case["key"].removeprefix("config_fed_client"), locked=locked)


def decided(case: dict[str, Any], log_streaming: LogStreaming) -> Verdict:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in case.get("webhook_env", {}).items():
            patch.setenv(name, value)
        return judge(case["text"], log_streaming, Streamer(), format_of(case["key"]))


def others(result: Loaded) -> dict[str, str]:
    nothing = (".JobLogStreamer", ".NoneType")
    return {name: part for name, part in result.components.items() if not part.endswith(nothing)}


@of_kind("forbidden", "leak")
@pytest.mark.parametrize("log_streaming", [LogStreaming.FORBIDDEN, LogStreaming.ERROR_LOG_ONLY])
def test_no_streamer_is_built_or_started(
    load: NvflareLoader, case: dict[str, Any], log_streaming: LogStreaming
) -> None:
    before = loaded(load, case, case["text"])
    assert before.streamers > 0
    assert before.started > 0
    verdict = decided(case, log_streaming)
    if verdict.text is None:
        assert verdict.decision is Decision.REFUSED
        return
    for value in case.get("webhook_env", {}).values():
        assert value not in verdict.text
    after = loaded(load, case, verdict.text)
    assert (after.streamers, after.started, after.failed) == (0, 0, before.failed)
    assert others(after) == others(before)


@of_kind("forbidden")
def test_the_second_lock_keeps_still_what_the_first_would_let_in(load: NvflareLoader, case: dict[str, Any]) -> None:
    result = loaded(load, case, case["text"], locked=True)
    assert (result.streamers > 0, result.started) == (True, 0)


@of_kind("innocent")
@pytest.mark.parametrize("log_streaming", [LogStreaming.FORBIDDEN, LogStreaming.ERROR_LOG_ONLY])
def test_an_innocent_configuration_stays_as_it_is(case: dict[str, Any], log_streaming: LogStreaming) -> None:
    verdict = decided(case, log_streaming)
    assert (verdict.decision, verdict.text) == (Decision.CLEAN, case["text"])


@of_kind("allowed")
def test_where_the_site_allows_the_job_gets_one_streamer_and_no_harm(load: NvflareLoader, case: dict[str, Any]) -> None:
    before = loaded(load, case, case["text"])
    verdict = decided(case, LogStreaming.ALLOWED)
    assert verdict.text is not None
    after = loaded(load, case, verdict.text)
    assert (before.failed, after.failed) == (None, None)
    assert (after.streamers, after.started) == (1, 1)
    assert others(after) == others(before)
