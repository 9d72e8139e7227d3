"""NVFlare's own SiteLogStreamer, sending a finished job's error log; it goes on as far as a test lets it.

As a program it is one such upload: each line on its input lets it send one more piece, and it says when the server has
answered that. At the end of the input it goes on by itself.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import ReservedKey
from nvflare.app_common.logging.site_log_streamer import SiteLogStreamer
from nvflare.app_common.streamers import log_streamer

from sitelog.uploader.courier import Courier
from sitelog.uploader.kit import read_kit
from support.wait import wait_for


class SecondSender:
    """The test's side."""

    def __init__(self, directory: Path, kit: Path, job_id: str, client_name: str, log: bytes) -> None:
        directory.mkdir()
        file = directory / "error_log.txt"
        file.write_bytes(log)
        self._output = directory / "output"
        given = json.dumps([str(kit), job_id, client_name, str(file)])
        program = f"import sys; sys.path[:0] = {sys.path!r}; from support.federation.second_sender import main; main()"
        with self._output.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, given], stdin=subprocess.PIPE, stdout=sink, stderr=sink
            )

    def send_pieces(self, count: int) -> None:
        """Let it send so many pieces, and wait for the server's answers."""
        self._answered(0)
        for number in range(count):
            self._write(b"\n")
            self._answered(number + 1)

    def finish(self) -> None:
        """Let it go on to its end, and wait for that."""
        self.go_on()
        assert self.process.wait(timeout=90) == 0, self._output.read_text()

    def go_on(self) -> None:
        """Let it go on to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def _write(self, text: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def _answered(self, pieces: int) -> None:
        wait_for(lambda: f"[{pieces} answered]" in self._output.read_text(), 60, f"the answer to piece {pieces}")


def main() -> None:
    """Upload one error log."""
    kit, job_id, client_name, file = json.loads(sys.argv[1])
    log_streamer._LogTailProducer.produce = _held(log_streamer._LogTailProducer.produce)
    with Courier(read_kit(Path(kit))) as courier:
        # As SiteLogStreamer's handler of JOB_COMPLETED prepares it.
        context = courier._api.new_context()
        context.put(key=ReservedKey.RUN_NUM, value=job_id, private=False, sticky=True)
        context.put(key=ReservedKey.IDENTITY_NAME, value=client_name, private=False, sticky=False)
        SiteLogStreamer(log_file_name="error_log.txt")._stream_completed_log(context, file, client_name, job_id)


def _held(produce: Callable[..., Any]) -> Callable[..., Any]:
    """Wait for a line before each piece is read."""
    answered = 0

    def held(*arguments: Any) -> Any:
        nonlocal answered
        print(f"[{answered} answered]", flush=True)
        answered += 1
        sys.stdin.readline()
        return produce(*arguments)

    return held
