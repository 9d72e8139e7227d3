"""What NVFlare builds and starts from whatever chance makes of its own words: nothing forbidden, nothing harmed.

START_RUN is fired, since some of NVFlare's components build further ones then. The second lock is absent where nothing
may survive the first, so that it cannot help; it is present where what the first would let in has to keep still.
"""

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.fuel.utils import class_utils, components_utils

from sitelog.core.jobconfig.verdict import Verdict, judge
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.policy import LogStreaming, Streamer
from support.inputs.configurations import ENVIRONMENT, STREAMER, chaotic, devious
from support.inputs.cunning import cunning
from support.inputs.hypothesis_profiles import at_least
from support.oracle import torch_stand_in
from support.oracle.nvflare_loader import Loaded, NvflareLoader

LOCK = "NVFLARE_ALLOW_LOG_STREAMING"
# What nobody can tell from the text: what only the job knows, and what Python alone would.
UNKNOWABLE = ("{$", "{SITE_NAME}", "{SECURE_MODE", ".name}")
# Broken for NVFlare's reader as well, or more than a decision may be.
EXCUSES = (Reason.TOO_DEEP, Reason.TOO_LARGE)


@pytest.fixture(scope="module")
def load() -> Iterator[NvflareLoader]:
    with pytest.MonkeyPatch.context() as patch:
        torch_stand_in.put(patch)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        # The same table each time, read from a file for each configuration.
        patch.setattr(class_utils, "create_classes_table_static", cache(components_utils.create_classes_table_static))
        loader = NvflareLoader()
        yield loader
        loader.close()


configurations = st.one_of(cunning(), cunning(), devious(), chaotic())


def others(result: Loaded) -> dict[str, str]:
    """Return what is neither a streamer nor, being disabled, nothing at all."""
    nothing = (".JobLogStreamer", ".NoneType")
    return {name: part for name, part in result.components.items() if not part.endswith(nothing)}


def excused(text: str, verdict: Verdict) -> bool:
    """Whether what is refused may be, although nothing is built.

    What NVFlare's own components build later they call with arguments of their own, at which a streamer may break.
    """
    unknowable = verdict.reason is Reason.UNDECIDABLE and any(mark in text for mark in UNKNOWABLE)
    late = verdict.reason is Reason.NOT_REMOVABLE and (
        "_args" in verdict.message or "args.components" in verdict.message
    )
    switched = verdict.reason is Reason.NOT_REMOVABLE and any(f'"disabled": "{mark}' in text for mark in UNKNOWABLE)
    return unknowable or late or switched or verdict.reason in EXCUSES


def test_no_streamer_is_built_where_it_is_forbidden_and_no_job_is_harmed(load: NvflareLoader) -> None:
    seen: Counter[str] = Counter()

    @at_least(2000)
    @given(configurations)
    def compare(config: dict[str, Any]) -> None:
        text = json.dumps(config)
        before = load(text)
        compare_forbidden(load, text, before, seen)
        compare_allowed(load, text, before, seen)

    compare()
    assert seen["had a streamer"] > 200
    assert seen["was started late"] > 20, "by START_RUN, not by loading"
    assert min(seen[decision.value] for decision in (Decision.STRIPPED, Decision.CLEAN, Decision.REFUSED)) > 100
    assert seen["injected into what loads"] > 200


def compare_forbidden(load: NvflareLoader, text: str, before: Loaded, seen: Counter[str]) -> None:
    verdict = judge(text, LogStreaming.FORBIDDEN, Streamer())
    seen[verdict.decision.value] += 1
    seen["had a streamer"] += before.streamers > 0
    seen["was started late"] += before.started > before.classes.count(STREAMER)
    if verdict.text is None:
        if before.failed is None and not before.streamers:
            assert excused(text, verdict), verdict.message
        return
    after = before if verdict.text == text else load(verdict.text)
    assert (after.streamers, after.started) == (0, 0)
    if before.failed is None:
        assert after.failed is None
        assert others(after) == others(before)


def compare_allowed(load: NvflareLoader, text: str, before: Loaded, seen: Counter[str]) -> None:
    verdict = judge(text, LogStreaming.ALLOWED, Streamer())
    assert verdict.text is not None
    if before.failed is not None:
        return
    after = before if verdict.text == text else load(verdict.text)
    assert after.failed is None, "a duplicate id, or worse"
    assert others(after) == others(before)
    if verdict.decision is Decision.INJECTED:
        seen["injected into what loads"] += 1
        assert (before.streamers == 0 and after.started == 1) or any(mark in text for mark in UNKNOWABLE)
    elif verdict.decision is Decision.DECLARED:
        assert after.streamers > 0 or "{SECURE_MODE}" in text or "_args" in text or "MultiProcess" in text


def test_the_second_lock_keeps_every_streamer_still(load: NvflareLoader) -> None:
    seen: Counter[str] = Counter()

    @at_least(200)
    @given(configurations)
    def compare(config: dict[str, Any]) -> None:
        with mock.patch.dict("os.environ", {LOCK: "false"}):
            result = load(json.dumps(config), locked=True)
        assert result.started == 0
        seen["built"] += result.streamers

    compare()
    assert seen["built"] > 20
