"""The sidecar's program and the reader of its output: the copy is whole, or it says what is missing."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.errorlog.sidecar_copy import TRAILER_ROOM, is_finished, read_copy
from sitelog.core.errorlog.upload_plan import Captured
from sitelog.sidecar import copy_log
from support.pods.sidecar_output import sidecar_output
from support.wait import wait_for

PROGRAM = Path(copy_log.__file__).read_text(encoding="utf-8")
HEAD, TAIL, PIECE = 64, 24, 7
CANDIDATES = [f"python3.{minor}" for minor in range(6, 15)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the limits so small that a few bytes go beyond them."""
    for name, value in {"HEAD": HEAD, "TAIL": TAIL, "PIECE": PIECE}.items():
        monkeypatch.setattr(copy_log, name, value)


class Played:
    """A file that is written to, and the program that looks at it from time to time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "error_log.txt"
        self.written = b""
        self._out = io.BytesIO()
        self._copy = copy_log.Copy(str(self.file), self._out)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._copy.file:
            self._copy.file.close()

    def append(self, data: bytes) -> None:
        with self.file.open("ab") as file:
            file.write(data)
        self.written += data

    def rotate(self, *, reopen: bool) -> None:
        """Rename the file as Python's logging does; the program has seen it before."""
        if self.file.exists():
            self.look()
            self.file.rename(self.file.with_suffix(".txt.1"))
            if reopen:
                self.file.touch()

    def truncate(self) -> None:
        """Empty the file; the program looks before and after, else nobody could tell."""
        if self.file.exists():
            self.look()
            self.file.write_bytes(b"")
            self.look()

    def look(self) -> None:
        self._copy.look()

    def end(self) -> bytes:
        """Finish; give the whole output."""
        self._copy.look()
        self._copy.finish()
        return self._out.getvalue()


appends = st.binary(max_size=50).map(lambda data: ("append", data))
steps = st.lists(st.one_of(appends, appends, st.sampled_from(["look", "rotate", "rename", "truncate"])), max_size=25)


@contextmanager
def played(script: list[str | tuple[str, bytes]]) -> Iterator[Played]:
    with tempfile.TemporaryDirectory() as folder, Played(Path(folder)) as it:
        for step in script:
            match step:
                case (_, data):
                    it.append(data)
                case "look":
                    it.look()
                case "truncate":
                    it.truncate()
                case _:
                    it.rotate(reopen=step == "rotate")
        yield it


@given(steps, st.integers(TRAILER_ROOM, 2000))
def test_whatever_happens_to_the_file_its_copy_is_its_end_and_says_what_stood_before(
    script: list[str | tuple[str, bytes]], kept: int
) -> None:
    with played(script) as it:
        output = it.end()
        copy = read_copy(output[-kept:], len(output))
        assert copy.partial is None
        assert it.written.endswith(copy.log)
        assert copy.missing == len(it.written) - len(copy.log)
        if len(it.written) <= HEAD and kept >= len(output):
            assert copy == Captured(it.written)
        assert is_finished(output[-kept:])


@given(steps, st.data())
def test_an_output_that_ends_too_early_is_never_taken_as_whole(
    script: list[str | tuple[str, bytes]], data: st.DataObject
) -> None:
    with played(script) as it:
        output = it.end()
        cut = output[: data.draw(st.integers(0, len(output) - 2))]  # the last byte is the trailer's line end
        kept = cut[-data.draw(st.integers(TRAILER_ROOM, 2000)) :]
        copy = read_copy(kept, len(cut))
        assert copy.partial == "its copying was cut off, so its last records may be missing"
        assert not is_finished(kept)
        assert copy.missing + len(copy.log) == len(cut)


@given(steps, st.data())
def test_an_output_whose_beginning_is_gone_says_so(script: list[str | tuple[str, bytes]], data: st.DataObject) -> None:
    """A node keeps only so much of a container's log."""
    with played(script) as it:
        output = it.end()
        copied = output.rindex(b"\n", 0, -1)
        cut = output[data.draw(st.integers(min(1, copied), copied)) :]
        copy = read_copy(cut, len(cut))
        assert it.written.endswith(copy.log)
        assert copy.missing == len(it.written) - len(copy.log)
        if copied:
            kept = len(cut) - (len(output) - copied)
            assert copy.partial == f"the node kept only {kept} of the {copied} bytes that were copied"


def test_after_a_rotation_beyond_the_head_nothing_is_taken_for_what_stood_elsewhere() -> None:
    """NVFlare rotates error_log.txt at 20 MiB: by then the copied beginning is far from the end."""
    script: list[str | tuple[str, bytes]] = [("append", b"a" * HEAD), ("append", b"b" * 50), "rotate", ("append", b"c")]
    with played(script) as it:
        output = it.end()
        assert read_copy(output[-TRAILER_ROOM:], len(output)) == Captured(b"c", missing=HEAD + 50)


def test_an_error_log_that_ends_without_a_line_end_does_so_in_the_copy() -> None:
    for log in (b"", b"\n", b"a", b"a\n", b"a\n\n", b"\na"):
        output = sidecar_output(log)
        assert output.endswith(b"]\n")
        assert read_copy(output, len(output)) == Captured(log)
        assert read_copy(output[:-1], len(output) - 1) == Captured(log)


# --- as a process -----------------------------------------------------------------------------------------------------


def interpreters() -> list[str]:
    """Give the Pythons that are found here; a name on PATH may stand for none."""
    found = filter(None, map(shutil.which, CANDIDATES))
    return [
        path for path in found if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
    ]


class Sidecar:
    """The program as a pod runs it."""

    def __init__(self, python: str, file: Path, output: Path) -> None:
        self._output = output
        with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
            self._process = subprocess.Popen(
                [python, "-I", "-S", "-B", "-c", PROGRAM, str(file)], stdout=out, stderr=err, env={"PATH": os.defpath}
            )

    def __enter__(self) -> Self:
        wait_for(self._heeds_sigterm, 60, "the program to have begun")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _heeds_sigterm(self) -> bool:
        (mask,) = [
            line.split()[1]
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
            if line.startswith("SigCgt:")
        ]
        return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)

    @property
    def output(self) -> bytes:
        return self._output.read_bytes()

    def terminate(self) -> int:
        """Tell it to end; give its exit code."""
        assert self._process.poll() is None, "it ended by itself"
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(20)
        assert self._output.with_suffix(".err").read_bytes() == b""
        return code


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_every_python_follows_a_file_that_appears_late_and_ends_when_it_is_told(python: str, tmp_path: Path) -> None:
    file, output = tmp_path / "job" / "error_log.txt", tmp_path / "output"
    with Sidecar(python, file, output) as sidecar:
        file.parent.mkdir()
        file.write_bytes(b"first \xff\n")
        wait_for(lambda: sidecar.output == b"first \xff\n", 60, "the first line")
        file.rename(file.with_suffix(".1"))
        file.write_bytes(b"second")
        wait_for(lambda: sidecar.output == b"first \xff\nsecond", 60, "the second file")
        assert sidecar.terminate() == 0
        assert read_copy(sidecar.output, len(sidecar.output)) == Captured(b"first \xff\nsecond")
        assert [path.name for path in tmp_path.rglob("*.pyc")] == []


def test_what_the_job_writes_with_its_last_breath_is_copied(tmp_path: Path) -> None:
    """The kubelet ends the sidecar at once when the job's container has ended."""
    file = tmp_path / "error_log.txt"
    with Sidecar(sys.executable, file, tmp_path / "output") as sidecar:
        file.write_bytes(b"broken\n" * 50_000)
        assert sidecar.terminate() == 0
        assert read_copy(sidecar.output, len(sidecar.output)) == Captured(b"broken\n" * 50_000)


def test_a_job_without_errors_leaves_no_file(tmp_path: Path) -> None:
    with Sidecar(sys.executable, tmp_path / "error_log.txt", tmp_path / "output") as sidecar:
        assert sidecar.terminate() == 0
        assert read_copy(sidecar.output, len(sidecar.output)) == Captured()


def test_a_file_that_cannot_be_read_is_said_and_the_sidecar_stays(tmp_path: Path) -> None:
    """It would be started again if it ended."""
    file = tmp_path / "error_log.txt"
    file.mkdir()
    with Sidecar(sys.executable, file, tmp_path / "output") as sidecar:
        wait_for(lambda: is_finished(sidecar.output), 60, "it to say so")
        assert sidecar.terminate() == 0
        copy = read_copy(sidecar.output, len(sidecar.output))
        assert copy == Captured(partial="the file could not be read (IsADirectoryError)")


def test_what_was_read_before_a_trouble_is_kept() -> None:
    output = b"first\n\n[sitelog: error_log.txt cannot be read: OSError]\n"
    copy = read_copy(output[3:], len(output))
    assert copy == Captured(b"st\n", missing=3, partial="the file could not be read (OSError)")
