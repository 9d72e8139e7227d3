"""The resolver against NVFlare's own: the same value for the same configuration, whatever is in it."""

import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.fuel.utils import json_scanner
from nvflare.fuel.utils.argument_utils import parse_vars
from nvflare.fuel.utils.wfconf import resolve_var_refs

from sitelog.core.jobconfig.budget import Budget, OverBudgetError
from sitelog.core.jobconfig.resolver import resolve
from sitelog.core.jobconfig.typed_values import typed_values
from sitelog.core.jobconfig.undecidable import UndecidableError
from sitelog.core.jobconfig.unknown import NAME, SYSTEM_VARIABLES, TEXT, may_be, may_name
from sitelog.core.jobconfig.verdict import judge
from sitelog.core.policy.policy import LogStreaming, Streamer
from support.inputs.configurations import ENVIRONMENT, STREAMER, chaotic, devious
from support.inputs.cunning import cunning
from support.inputs.hypothesis_profiles import at_least


@pytest.fixture(autouse=True, scope="module")
def _environment() -> Iterator[None]:
    """Have NVFlare see the marks where a job would see what only it knows, and keep its messages short."""
    with (
        mock.patch.dict("os.environ", dict.fromkeys(ENVIRONMENT, TEXT), clear=True),
        mock.patch.object(json_scanner, "secure_log_traceback"),
        mock.patch.object(json_scanner, "ConfigFactory"),
    ):
        yield


def resolved_by_nvflare(config: dict[str, Any]) -> dict[str, Any]:
    """Resolve as `JsonConfigurator._do_configure` does."""
    variables = copy.deepcopy(config)
    config = {name: value for name, value in copy.deepcopy(config).items() if not name.startswith("@")}
    variables.update(SYSTEM_VARIABLES)
    resolve_var_refs(json_scanner.JsonScanner(config), variables)
    return config


def _fails(config: dict[str, Any]) -> bool:
    try:
        resolved_by_nvflare(config)
    except Exception:  # noqa: BLE001 - NVFlare wraps what it meets
        return True
    return False


# Texts whose meaning NVFlare finds with Python's own formatting.
_names = st.sampled_from(
    ["a", "b", "c", "n", "obj", "list", "@d", "", "0", "$NUMBER", "SITE_NAME", "WORKSPACE", "none"]
)
_steps = st.sampled_from(["", "", "", "[0]", "[x]", "[-1]", "[", ".", "[0][x]", "[x].y"])
_endings = st.sampled_from(
    ["", "", "", "!s", "!r", "!a", "!x", ":>8", ":.2", ":03d", ":{n}", ":e", ":,", "!r:>9", ":c"]
)
_fields = st.builds("{{{}{}{}}}".format, _names, _steps, _endings)
_marks = st.sampled_from(
    ["{", "}", "{{", "}}", " ", "x", ".", ":", "=", "\u00e4", "${secret:T}", "${secret:", "{@d:n=1}", "{@d:"]
)
formats = st.lists(st.one_of(_fields, _fields, _marks), min_size=1, max_size=4).map("".join)
scalars = st.one_of(
    formats, formats, formats, st.sampled_from([None, True, 0, 7, -1.5, 1e300, float("inf"), "plain", 10**20])
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["x", "0", "a", "{a}"]), inner, max_size=3)
    ),
    max_leaves=6,
)
anything = st.dictionaries(
    st.sampled_from(["a", "b", "c", "n", "obj", "list", "@d", "", "SITE_NAME"]), trees, max_size=6
)


def test_what_it_makes_of_a_configuration_is_what_nvflare_makes_of_it() -> None:
    seen: Counter[str] = Counter()

    @at_least(1000)
    @given(st.one_of(anything, anything, cunning(), devious(), chaotic()))
    def compare(config: dict[str, Any]) -> None:
        before = json.dumps(config)
        try:
            ours = resolve(config, Budget()).config
        except (OverBudgetError, RecursionError):
            return  # it may be any amount of work for NVFlare, too
        except UndecidableError:
            seen["undecidable"] += 1
            unknowable = any(mark in before for mark in ("$", "__", "[", *SYSTEM_VARIABLES))
            assert unknowable or _fails(config), "refused for nothing"
            return
        assert json.dumps(config) == before, "what is resolved stays as it is"
        theirs = resolved_by_nvflare(config)
        if ".name}" in before or ".y" in before:
            return  # an attribute: its text differs with each Python, and is marked
        # What is taken out of a marked text, or written in another way, or not set, is less certain here.
        if not any(part in before for part in ("!r", "!a", "[", ":", "$")) or TEXT not in repr(ours):
            assert repr(ours) == repr(theirs)
            seen["same"] += 1

    compare()
    assert seen["same"] > 400


_values = st.one_of(
    st.sampled_from(
        ["yes", "NO", "t", "F", "1", "007", "1_0", " 7 ", "1e3", "nan", "-inf", "", "x=y", "\u0663", "0x1", "True "]
    ),
    st.text(max_size=6),
)


@given(st.lists(st.builds("{}={}".format, st.text(max_size=3), _values) | st.text(max_size=4), max_size=4))
def test_given_values_get_the_types_that_nvflare_gives_them(parameters: list[str]) -> None:
    assert repr(typed_values(parameters)) == repr(parse_vars(parameters))


@pytest.mark.parametrize(
    ("path", "may"),
    [
        (STREAMER, True),
        ("JobLogStreamer", False),
        ("m.JobLogStreamerStatistics", False),
        (TEXT, True),
        (f"m.{TEXT}", True),
        (f"m.{TEXT}Streamer", True),
        (f"m.Job{TEXT}Streamer", True),
        (f"m.x{TEXT}Streamer", True),
        (f"m.{TEXT}Statistics", False),
        (f"{TEXT}.Learner", False),
        (f"{TEXT}.JobLogStreamer", True),
        (NAME, False),
        (f"m.{NAME}", True),
        (f"m.Job{NAME}er", True),
        (f"m.x{NAME}er", False),
        (f"{NAME}.csv", False),
        (f"/{TEXT}", False),
        (f"/{TEXT}/JobLogStreamer", False),
        (f"data/{NAME}.JobLogStreamer", False),
    ],
)
def test_what_a_class_path_may_lead_to_where_the_job_runs(path: str, may: bool) -> None:  # noqa: FBT001
    assert may_name(path, "JobLogStreamer") is may


@pytest.mark.parametrize(
    ("text", "may"),
    [("a", True), ("b", False), (NAME, True), (f"{TEXT}b", False), (f"a{TEXT}", True), (f"b{TEXT}", False)],
)
def test_what_an_id_may_be_where_the_job_runs(text: str, may: bool) -> None:  # noqa: FBT001
    assert may_be(text, "a") is may


def test_a_budget_that_does_not_suffice_is_said_to_whoever_gave_it_and_too_large_to_others() -> None:
    text = json.dumps({"components": [{"id": "a", "path": "{p}"}], "p": "m.C"})
    with pytest.raises(OverBudgetError):
        judge(text, LogStreaming.FORBIDDEN, Streamer(), budget=Budget(100))
    assert judge(text, LogStreaming.FORBIDDEN, Streamer(), budget=Budget(100, final=True)).text is None
    assert judge(text, LogStreaming.ALLOWED, Streamer(), budget=Budget(100, final=True)).text == text
    assert judge(text, LogStreaming.FORBIDDEN, Streamer(), budget=Budget(10_000)).text == text


def test_a_width_is_counted_before_it_is_written() -> None:
    with pytest.raises(OverBudgetError):
        resolve({"a": "b", "x": "-{a:999999999}"}, Budget())
    assert resolve({"a": "b", "x": "-{a:>4}"}, Budget()).config["x"] == "-   b"
