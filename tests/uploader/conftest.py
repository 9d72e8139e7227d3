"""A real FL server with a job on it, and the uploader as a process of its own."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.federation.federation import Federation, write_job
from support.federation.issuer import Issuer
from support.federation.uploader_process import StartUpload, Upload, start_upload


@pytest.fixture
def upload(tmp_path: Path) -> Iterator[StartUpload]:
    """Start the uploader: `upload(kit, job_id, client_name, log, **options)`."""
    with contextlib.ExitStack() as processes:
        started: list[Upload] = []

        def start(*given: Any, **options: Any) -> Upload:
            directory = tmp_path / f"upload-{len(started)}"
            directory.mkdir()
            upload = start_upload(directory, *given, **options)
            started.append(upload)
            processes.callback(upload.process.wait)
            processes.callback(upload.process.kill)
            return upload

        yield start


@pytest.fixture(scope="session")
def job(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a job that ran to its end on the federation, with no error log of its own."""
    job_id = federation.submit(write_job(tmp_path_factory.mktemp("jobs"), "done"))
    assert federation.wait(job_id) == "FINISHED:COMPLETED"
    return job_id


@pytest.fixture
def other_federation(federation: Federation, job: str, tmp_path: Path) -> Iterator[Federation]:
    """A second project that knows the same job, without what other tests stored for it; nothing is started yet."""
    with Federation(tmp_path / "other") as other:
        shutil.copytree(federation.job_store / job, other.job_store / job, ignore=shutil.ignore_patterns("ERRORLOG_*"))
        yield other


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """An authority that no federation knows."""
    return Issuer.create("stranger")
