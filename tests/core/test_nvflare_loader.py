"""The kill switch against NVFlare's own loader: what it builds from a configuration that a forbidding site let in."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from nvflare.fuel.utils.components_utils import create_classes_table_static

from sitelog.core.jobconfig import unknown
from sitelog.core.jobconfig.verdict import Verdict, judge
from sitelog.core.names import Decision
from sitelog.core.policy.policy import LogStreaming, Streamer
from support.inputs.configurations import ENVIRONMENT, MINIMAL, PART, STREAMER
from support.oracle.nvflare_loader import NvflareLoader

MODULE = STREAMER.rpartition(".")[0]
INVOKED = {"@d": {"k": "{x}"}, "foo": "{@d:a=JobLogStreamer}"}

# name -> (what is added to a minimal configuration, what becomes of it)
HIDDEN: dict[str, tuple[dict[str, Any], Decision]] = {
    "in a variable": ({"v": STREAMER, "components": [{"id": "s", "path": "{v}"}]}, Decision.STRIPPED),
    "in an object": ({"v": {"id": "s", "path": STREAMER}, "components": ["{v}"]}, Decision.STRIPPED),
    "in a list": ({"v": [{"id": "s", "path": STREAMER}], "components": "{v}"}, Decision.STRIPPED),
    "in an invocation": (
        {"@d": {"id": "s", "path": MODULE + ".{n}"}, "components": ["{@d:n=JobLogStreamer}"]},
        Decision.STRIPPED,
    ),
    "in an invocation's variable": (
        {"@d": {"id": "s", "path": MODULE + ".{n}"}, "m": "JobLogStreamer", "components": ["{@d:n={m}}"]},
        Decision.STRIPPED,
    ),
    "behind a system variable's name": (
        {"@d": {"id": "s", "path": "{SITE_NAME}"}, "components": ["{@d:SITE_NAME=" + STREAMER + "}"]},
        Decision.STRIPPED,
    ),
    "in class_path": ({"components": [{"id": "s", "class_path": STREAMER}]}, Decision.STRIPPED),
    "in a key with dots": ({"components.#1": {"id": "s", "path": STREAMER}}, Decision.STRIPPED),
    "in a key with a line end": ({"components.#1\n": {"id": "s", "path": STREAMER}}, Decision.STRIPPED),
    "in an object instead of a list": ({"components": {"#1": {"id": "s", "path": STREAMER}}}, Decision.STRIPPED),
    "in the job's own module": (
        {"components": [{"id": "s", "path": "support.job_parts.JobLogStreamer"}]},
        Decision.STRIPPED,
    ),
    "in an argument": (
        {"components": [{"id": "p", "path": PART, "args": {"x": {"path": STREAMER}}}]},
        Decision.REFUSED,
    ),
    "in an argument of an argument": (
        {"components": [{"id": "p", "path": PART, "args": {"x": {"path": PART, "args": {"y": {"path": STREAMER}}}}}]},
        Decision.REFUSED,
    ),
    "as an executor": ({"executors.#7.executor": {"path": STREAMER}}, Decision.REFUSED),
    "as a filter": (
        {"task_data_filters": [{"tasks": ["train"], "filters": [{"path": STREAMER}]}]},
        Decision.REFUSED,
    ),
    "in the environment": ({"components": [{"id": "s", "path": "{$HIDDEN_CLASS}"}]}, Decision.REFUSED),
    "in an invocation of all components": (
        {
            "@d": {"#1": {"id": "s", "path": STREAMER}, "#2": {"id": "p", "path": "{q}"}},
            "components": f"{{@d:q={PART}}}",
        },
        Decision.REFUSED,
    ),
    # NVFlare puts an invocation's values into an object in place, and everybody else finds them there.
    "in a shared object": (
        {**INVOKED, "x": {"id": "s", "path": MODULE + ".{a}"}, "components": ["{x}"]},
        Decision.STRIPPED,
    ),
    "in a shared object, against the variable": (
        {**INVOKED, "a": "Part", "x": {"id": "s", "path": MODULE + ".{a}"}, "components": ["{x}"]},
        Decision.STRIPPED,
    ),
    "in a definition that somebody else filled in": (
        {
            "@d": {"id": "s", "path": "{p}"},
            "p": STREAMER,
            "foo": "{@d}",
            "c": f"{{@d:p={PART}}}",
            "components": ["{c}"],
        },
        Decision.STRIPPED,
    ),
}

# name -> what is added to a minimal configuration that the job needs to be left alone
INNOCENT: dict[str, dict[str, Any]] = {
    "a disabled component whose class the environment names": {
        "components": [{"id": "p", "path": "{$HIDDEN_CLASS}", "disabled": True}]
    },
    "a disabled owner": {
        "components": [{"id": "p", "path": PART, "disabled": True, "args": {"x": {"path": STREAMER}}}]
    },
    "a disabled executor": {"executors.#7.executor": {"path": STREAMER, "disabled": True}},
    "a component switched off by an invocation": {
        "@d": {"id": "p", "path": PART, "disabled": "{off}"},
        "components": ["{@d:off=true}"],
    },
    "an argument that is a dict by its own word": {
        "components": [{"id": "p", "path": PART, "args": {"x": {"path": STREAMER, "config_type": "dict"}}}]
    },
    "a definition with values in a list that is referred to": {
        "@d": {"id": "p", "path": "support.job_parts.{n}"},
        "list": ["{@d:n=Part}"],
        "components": "{list}",
    },
    "one object twice": {
        "x": {"path": PART},
        "components": [{"id": name, "path": PART, "args": {"x": "{x}"}} for name in "ab"],
    },
}


@pytest.fixture(scope="module")
def load() -> Iterator[NvflareLoader]:
    loader = NvflareLoader()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield loader
    loader.close()


def forbid(config: dict[str, Any]) -> Verdict:
    return judge(json.dumps(config), LogStreaming.FORBIDDEN, Streamer())


@pytest.mark.parametrize("name", HIDDEN)
def test_no_hidden_streamer_survives(load: NvflareLoader, name: str) -> None:
    addition, decision = HIDDEN[name]
    config = {**MINIMAL, **addition}
    assert load(json.dumps(config)).streamers == 1, "NVFlare finds it"
    verdict = forbid(config)
    assert verdict.decision is decision
    if verdict.text is not None:
        after = load(verdict.text)
        assert (after.streamers, after.failed) == (0, None)


@pytest.mark.parametrize("name", INNOCENT)
def test_no_innocent_configuration_is_touched(load: NvflareLoader, name: str) -> None:
    config = {**MINIMAL, **INNOCENT[name]}
    before = load(json.dumps(config))
    assert (before.streamers, before.failed is None or "executor" in name) == (0, True)
    verdict = forbid(config)
    assert (verdict.decision, verdict.text) == (Decision.CLEAN, json.dumps(config))


def test_every_system_variable_is_known_as_one(load: NvflareLoader) -> None:
    assert load(json.dumps(MINIMAL)).system_variables == unknown.SYSTEM_VARIABLES.keys()


def test_nvflares_table_of_names_has_no_streamer() -> None:
    assert not [name for name in create_classes_table_static() if name.endswith("JobLogStreamer")]
