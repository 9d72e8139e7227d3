"""The end of a stream of bytes: always the end, however it comes in, and never more of it on disk than promised."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.controller.errorlogs import spool
from sitelog.controller.errorlogs.spool import Spool

pieces = st.lists(st.binary(max_size=100), max_size=30)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", 64)


@pytest.fixture
def no_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No folder for temporary files is there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    yield
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("small")
@given(pieces, st.integers(1, 500), st.data())
def test_it_keeps_the_end_and_counts_everything(written: list[bytes], size: int, data: st.DataObject) -> None:
    with closing(Spool(size)) as kept:
        so_far = b""
        for piece in written:
            kept.write(piece)
            so_far += piece
            assert kept.received == len(so_far)
            if data.draw(st.booleans()):  # a look in between changes nothing
                less = data.draw(st.integers(1, size))
                assert kept.end() == so_far[-size:]
                assert kept.end(less) == so_far[-less:]
        assert kept.end() == so_far[-size:]


@pytest.mark.usefixtures("small")
@given(pieces, st.integers(1, 500))
def test_its_file_is_of_twice_the_size_at_most(written: list[bytes], size: int) -> None:
    with closing(Spool(size)) as kept:
        for piece in written:
            kept.write(piece)
        kept._file.flush()
        assert os.fstat(kept._file.fileno()).st_size <= 2 * size


@pytest.mark.usefixtures("no_disk")
def test_a_short_log_needs_no_disk_and_a_longer_one_says_that_there_is_none() -> None:
    with closing(Spool(1 << 20)) as kept:
        kept.write(b"x" * spool._IN_MEMORY)
        assert kept.end() == b"x" * spool._IN_MEMORY
        with pytest.raises(FileNotFoundError):
            kept.write(b"x")
