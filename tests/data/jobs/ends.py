"""A job's client side that writes error records and then ends in the way it is told."""

import hashlib
import os
import time
from pathlib import Path

from nvflare.apis.executor import Executor
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

STEP = 8 * 1024 * 1024  # bytes


class Records(FLComponent):
    """Writes its error records while the configuration is being built, for a job that does not get any further."""

    def __init__(self, errors: int = 0) -> None:
        super().__init__()
        for number in range(1, errors + 1):
            self.logger.error("record %d of %d", number, errors)


class Worker(Executor):
    """Writes error records in its first round, says what error_log.txt holds then, and ends as `ending` says.

    Parameters
    ----------
    ending
        ok, raises, exit_code, oom, sleeps or stuck.
    errors
        How many records.
    seconds
        How long a round of `ok` takes, and how long `sleeps` and `stuck` last if nobody aborts them.
    """

    def __init__(self, ending: str, errors: int = 0, seconds: float = 0.0) -> None:
        super().__init__()
        self._end = getattr(self, f"_{ending}")
        self._errors = errors
        self._seconds = seconds

    def execute(self, _task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        number = shareable["number"]
        if number == 1:
            for record in range(1, self._errors + 1):
                self.logger.error("record %d of %d", record, self._errors)
            run_folder = fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_job_id())
            written = (Path(run_folder) / "error_log.txt").read_bytes()
            self.logger.info("error_log.txt: %d bytes, sha256 %s", len(written), hashlib.sha256(written).hexdigest())
        self._end(number, abort_signal)
        return make_reply(ReturnCode.OK)

    def _ok(self, number: int, _abort_signal: Signal) -> None:
        import numpy as np  # noqa: PLC0415 - the other endings do without

        weights = np.full(1000, number, dtype=np.float64)
        self.logger.info("round %d: mean weight %.1f", number, weights.mean())
        time.sleep(self._seconds)

    def _raises(self, _number: int, _abort_signal: Signal) -> None:
        raise RuntimeError("this worker was told to fail")

    def _exit_code(self, _number: int, _abort_signal: Signal) -> None:
        os._exit(3)

    def _oom(self, _number: int, _abort_signal: Signal) -> None:
        hoard = []
        while True:
            hoard.append(b"x" * STEP)
            time.sleep(0.02)

    def _sleeps(self, _number: int, abort_signal: Signal) -> None:
        end = time.monotonic() + self._seconds
        while time.monotonic() < end and not abort_signal.triggered:
            time.sleep(0.1)

    def _stuck(self, _number: int, _abort_signal: Signal) -> None:
        time.sleep(self._seconds)
