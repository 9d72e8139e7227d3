"""A job in a few seconds: the server asks each client for some rounds; a client logs a line in each, or fails."""

import time

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal


class Rounds(Controller):
    """Broadcasts the task `round` so many times, and gives each the same time."""

    def __init__(self, rounds: int = 1, timeout: int = 60) -> None:
        super().__init__()
        self._rounds = rounds
        self._timeout = timeout

    def start_controller(self, fl_ctx: FLContext) -> None:
        pass

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        for number in range(1, self._rounds + 1):
            task = Task(name="round", data=Shareable({"number": number}), timeout=self._timeout)
            self.broadcast_and_wait(task, fl_ctx, min_responses=1, abort_signal=abort_signal)
            failed = [answer for answer in task.client_tasks if answer.result is None or not _ok(answer)]
            if failed:
                self.system_panic(f"{len(failed)} client(s) failed in round {number}", fl_ctx)
                return

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        pass

    def stop_controller(self, fl_ctx: FLContext) -> None:
        pass


class Worker(Executor):
    """Logs a line in each round, and `error` if there is one, taking `seconds`; with `fails`, raises in the first."""

    def __init__(self, seconds: float = 0.0, *, fails: bool = False, error: str = "") -> None:
        super().__init__()
        self._seconds = seconds
        self._fails = fails
        self._error = error

    def execute(self, _task_name: str, shareable: Shareable, fl_ctx: FLContext, _abort_signal: Signal) -> Shareable:
        if self._fails:
            raise RuntimeError("this worker was told to fail")
        self.log_info(fl_ctx, f"worked through round {shareable['number']}")
        if self._error:
            self.log_error(fl_ctx, self._error)
        time.sleep(self._seconds)
        return make_reply(ReturnCode.OK)


def _ok(answer: ClientTask) -> bool:
    return bool(answer.result.get_return_code() == ReturnCode.OK)
