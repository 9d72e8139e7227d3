"""Sitelog's table of what builds components later, against the wheel that is installed."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nvflare
import pytest

from sitelog.core.jobconfig.builders import BUILDS_BY_NAME, LATE_BUILDERS
from sitelog.core.jobconfig.verdict import judge
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.policy import LogStreaming, Streamer
from support.inputs.configurations import MINIMAL, PART, STREAMER

ROOT = Path(nvflare.__file__).parent
# Calls that make objects out of a description or a path.
BUILDING = ("build_component", "instantiate_class", "load_class", "import_module")
# Classes and modules of the wheel with such calls that build nothing from a client job's arguments, and why.
EXEMPT = {
    "app_common/executors/multi_process_executor.py:WorkerComponentBuilder": "the builder that the executors use",
    "app_common/workflows/base_model_controller.py:BaseModelController": "hands on what FedOpt gives it",
    "app_common/statistics/json_stats_file_persistor.py:JsonStatsFileWriter": "takes a JSONEncoder only, builds none",
    "app_common/streamers/container_streamer.py:_EntryConsumer": "takes its class from the stream",
    "app_common/widgets/decomposer_reg.py:DecomposerRegister": "registers decomposers only",
    "app_opt/hf/api.py:": "imports numpy",
    "client/decomposers.py:": "registers decomposers only",
    "edge/simulation/config.py:": "the loader of the simulation, which no job process runs",
    "edge/simulation/config.py:ConfigParser": "reads the simulation's own file",
    "fuel/utils/fobs/fobs.py:": "reads messages",
}
# The program's own loading, the tools that write jobs, and code that a job would bring itself.
ELSEWHERE = ("private", "tool", "lighter", "recipe", "job_config", "collab", "fuel/hci", "fuel/f3", "fuel/utils")


def owners(module: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    for node in module.body:
        yield (node.name if isinstance(node, ast.ClassDef) else ""), node


def calls(node: ast.AST) -> set[str]:
    names = (call.func for call in ast.walk(node) if isinstance(call, ast.Call))
    return {getattr(name, "attr", getattr(name, "id", "")) for name in names}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(ROOT.rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith(ELSEWHERE) and "/recipes/" not in name and "/job_config/" not in name:
            yield name, ast.parse(file.read_text())


def test_every_class_of_the_wheel_that_builds_from_its_arguments_is_in_the_table() -> None:
    found = {
        f"{name}:{owner}" for name, module in modules() for owner, node in owners(module) if calls(node) & {*BUILDING}
    }
    unknown = {where for where in found if where.rpartition(":")[2] not in LATE_BUILDERS} - set(EXEMPT)
    assert not unknown, "look at each: what does it build, and from which arguments?"


def test_every_class_of_the_table_and_each_derived_from_one_is_in_the_wheel_and_the_table() -> None:
    bases = {
        node.name: {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
        for _, module in modules()
        for node in module.body
        if isinstance(node, ast.ClassDef)
    }
    assert set(LATE_BUILDERS) <= set(bases)
    assert {name for name, of in bases.items() if of & set(LATE_BUILDERS)} <= set(LATE_BUILDERS)


def test_the_arguments_of_the_table_are_theirs() -> None:
    for _, module in modules():
        for node in module.body:
            if isinstance(node, ast.ClassDef) and node.name in LATE_BUILDERS:
                init = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
                if init is not None:
                    named = [*init.args.args, *init.args.kwonlyargs]
                    assert {*LATE_BUILDERS[node.name]} <= {argument.arg for argument in named}


def test_nothing_of_the_wheel_offers_the_streamer_under_another_name() -> None:
    for file in ROOT.rglob("*.py"):
        text = file.read_text()
        assert "JobLogStreamer as " not in text, file
        assert "(JobLogStreamer)" not in text, "a class derived from it would be one, too"


def forbidden(component: dict[str, Any]) -> Any:
    config = {**MINIMAL, "components": [{"id": "c", **component}]}
    return judge(json.dumps(config), LogStreaming.FORBIDDEN, Streamer())


@pytest.mark.parametrize("late", LATE_BUILDERS)
@pytest.mark.parametrize("by", ["path", "class_path"])
def test_a_streamer_in_the_reach_of_each_is_found(late: str, by: str) -> None:
    for name in LATE_BUILDERS[late]:
        for described in ({by: STREAMER, "config_type": "dict"}, [{by: STREAMER}], STREAMER):
            for arguments in ({name: described}, {"class_attributes": {name: described}}):
                for owner in ({"path": f"some.module.{late}"}, {"name": late}):
                    verdict = forbidden({**owner, "args": arguments})
                    gone = verdict.decision is Decision.STRIPPED and name == "components"
                    assert gone or verdict.reason is Reason.NOT_REMOVABLE
        assert forbidden({"path": f"m.{late}", "args": {name: {"path": PART}}}).decision is Decision.CLEAN


def test_a_streamer_among_a_process_executors_components_goes_alone() -> None:
    inner = [{"id": "s", "path": STREAMER}, {"id": "p", "path": PART}]
    verdict = forbidden({"path": "m.PTMultiProcessExecutor", "args": {"executor_id": "p", "components": inner}})
    assert (verdict.decision, STREAMER in verdict.text, PART in verdict.text) == (Decision.STRIPPED, False, True)


@pytest.mark.parametrize("function", [*sorted(BUILDS_BY_NAME), "yaml.load", "numpy.testing.measure"])
def test_what_builds_by_name_is_refused(function: str) -> None:
    path = function if "." in function else f"some.module.{function}"
    assert forbidden({"path": path, "args": {}}).reason is Reason.UNDECIDABLE
    assert forbidden({"path": path, "args": {}, "disabled": True}).decision is Decision.CLEAN
    nested = {"path": PART, "args": {"x": {"path": path}}}
    assert forbidden(nested).reason is Reason.UNDECIDABLE


@pytest.mark.parametrize(
    "path", ["datetime.timedelta", "trace.learner.Learner", "torch.load", "my.load", "loader.run", "m.evaluate"]
)
def test_other_classes_and_functions_are_the_jobs_own_affair(path: str) -> None:
    assert forbidden({"path": path}).decision is Decision.CLEAN
