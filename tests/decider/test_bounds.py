"""Every legal input is answered within its bounds, and nothing is left behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.jobconfig.budget import OverBudgetError
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.effective import Effective, effective
from sitelog.core.policy.policy import LogStreaming, Policy
from sitelog.decider import process
from sitelog.decider.door import Decider
from sitelog.decider.process import NoAnswerError, Worker
from sitelog.decider.worker import MEMORY, PROCESSOR_SECONDS
from support.inputs.slow_configurations import HOCON, JSON, SLOW
from support.sitelog import bounded_functions

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def decider() -> Iterator[Decider]:
    made = Decider()
    yield made
    made.close()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("PYTHONPATH", str(Path(bounded_functions.__file__).parents[2]))
    made = Worker(bounded_functions.__name__)
    yield made
    made.close()


def under(log_streaming: LogStreaming) -> Effective:
    return effective((Policy("fl", "site", log_streaming=log_streaming),), {})


@pytest.mark.parametrize("name", SLOW)
def test_what_is_slow_is_decided_or_refused_where_the_site_forbids_and_never_stopped_where_it_allows(
    decider: Decider, name: str
) -> None:
    key, text = SLOW[name][0], SLOW[name][1]()
    assert len(text.encode()) <= MIB + MIB // 4
    configmap = ConfigMap("fl", "job", data={key: text})
    running = decider._worker._process
    forbidden = decider.decide_and_wait(configmap, under(LogStreaming.FORBIDDEN))
    allowed = decider.decide_and_wait(configmap, under(LogStreaming.ALLOWED))
    assert forbidden.decision in (Decision.CLEAN, Decision.STRIPPED, Decision.REFUSED)
    assert allowed.decision in (Decision.INJECTED, Decision.DECLARED, Decision.UNREADABLE)
    assert (forbidden.decision is Decision.REFUSED) or forbidden.reason is not Reason.TOO_LARGE
    assert running in (None, decider._worker._process)  # it has survived


# --- the bounds ------------------------------------------------------------------------------------------------------
def test_a_function_has_the_limits_that_are_promised(worker: Worker) -> None:
    processor_time, memory = worker.run(bounded_functions.limits)
    assert 0 < processor_time <= PROCESSOR_SECONDS + 0.01  # the kernel counts in ticks
    assert memory <= MEMORY


@pytest.mark.parametrize(
    "function", [bounded_functions.spin, bounded_functions.spin_in_a_library, bounded_functions.swallow_what_can_be]
)
def test_what_takes_more_processor_time_is_ended(worker: Worker, function: object) -> None:
    with pytest.raises(OverBudgetError):
        worker.run(function)  # type: ignore[arg-type]
    assert worker.run(bounded_functions.take, 1) == 1


def test_what_takes_more_memory_is_ended(worker: Worker) -> None:
    assert worker.run(bounded_functions.take, MEMORY // 2) == MEMORY // 2
    with pytest.raises(OverBudgetError):
        worker.run(bounded_functions.take, 2 * MEMORY)
    assert worker.run(bounded_functions.take, 1) == 1


def test_what_a_function_raises_reaches_whoever_called_it(worker: Worker) -> None:
    with pytest.raises(LookupError, match="something"):
        worker.run(bounded_functions.fail)


@pytest.mark.parametrize("function", [bounded_functions.die, bounded_functions.hang])
def test_a_process_that_dies_or_hangs_is_replaced(
    worker: Worker, function: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_ANSWER_SECONDS", 3.0)
    with pytest.raises(NoAnswerError):
        worker.run(function)  # type: ignore[arg-type]
    assert worker.run(bounded_functions.take, 1) == 1


def test_large_values_go_both_ways(worker: Worker) -> None:
    value = os.urandom(8 * MIB)
    assert worker.run(bytes, value) == value


def test_nothing_of_the_environment_of_whoever_decides_is_there(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE", "only the webhook knows this")
    assert "PROBE" not in worker.run(bounded_functions.environment)


def test_nobody_is_left_behind(worker: Worker) -> None:
    worker.start()
    assert worker._process is not None
    group = worker._process.pid
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


# --- who decides where -----------------------------------------------------------------------------------------------
async def test_small_json_needs_no_process() -> None:
    decider = Decider()
    outcome = await decider.decide(ConfigMap("fl", "job", data={JSON: "{}"}), under(LogStreaming.ALLOWED))
    assert outcome.decision is Decision.INJECTED
    assert decider._worker._process is None


async def test_hocon_is_decided_in_the_process(decider: Decider) -> None:
    configmap = ConfigMap("fl", "job", data={HOCON: "components = []"})
    assert (await decider.decide(configmap, under(LogStreaming.ALLOWED))).decision is Decision.INJECTED
    assert decider._worker._process is not None


async def test_who_has_no_patience_is_told_so() -> None:
    decider = Decider(patience=0.0)
    with pytest.raises(NoAnswerError):
        await decider.run(len, ())
    decider.close()
