"""Jobs for a site whose jobs are pods, each ending in its own way."""

import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.federation.jobs import JOB_LOG_STREAMER, write_job
from support.federation.provisioning import SITE
from support.kind.images import SITE as SITE_IMAGE

ENDS = Path(__file__).parents[2] / "data" / "jobs" / "ends.py"
MEMORY = "384Mi"
LONG = 600  # seconds


class EndingJobs:
    """Writes job folders, a fresh one for each call; `errors` is how many error records a job writes before it ends.

    Parameters
    ----------
    directory
        Where the folders go.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)

    def ok(self, *, errors: int = 0, rounds: int = 1, seconds: float = 0.0, streams: bool = False) -> Path:
        """Some rounds with numpy, each logged and as long as it is told; nothing fails.

        `streams`: the job itself declares that its log.txt streams.
        """
        return self._write("ok", errors, seconds, rounds=rounds, components=[JOB_LOG_STREAMER] if streams else [])

    def raises(self, *, errors: int = 0) -> Path:
        """The executor raises; NVFlare catches it, and the pod ends well."""
        return self._write("raises", errors)

    def exit_code(self, *, errors: int = 0) -> Path:
        """The process ends itself with exit code 3."""
        return self._write("exit_code", errors)

    def bad_config(self, *, errors: int = 0) -> Path:
        """NVFlare refuses the configuration: exit code 103."""
        return self._write("bad_config", errors)

    def oom(self, *, errors: int = 0) -> Path:
        """The process is killed for its memory."""
        return self._write("oom", errors)

    def no_image(self) -> Path:
        """Its image cannot be pulled: no name ends in `.invalid`."""
        return self._write("ok", image="registry.invalid/fl-job:1")

    def unschedulable(self, *, pending_timeout: int = 5) -> Path:
        """No node has the memory; the launcher gives up after so many seconds."""
        return self._write("ok", memory="4Ti", memory_request="4Ti", pending_timeout=pending_timeout)

    def sleeps(self, *, errors: int = 0, seconds: float = LONG) -> Path:
        """Waits, and heeds an abort."""
        return self._write("sleeps", errors, seconds)

    def stuck(self, *, errors: int = 0, seconds: float = LONG) -> Path:
        """Waits, and does not heed an abort."""
        return self._write("stuck", errors, seconds)

    def _write(
        self,
        ending: str,
        errors: int = 0,
        seconds: float = 0.0,
        *,
        rounds: int = 1,
        components: Sequence[Mapping[str, Any]] = (),
        **launcher: object,
    ) -> Path:
        limits = {"memory": MEMORY, "memory_request": "64Mi", "cpu_request": "20m", "ephemeral_storage": "128Mi"}
        spec = {"image": SITE_IMAGE.name, **limits, **launcher}
        job = write_job(
            self._directory,
            f"{ending}-{next(self._numbers)}",
            rounds=rounds,
            round_timeout=LONG,
            client_config_text=json.dumps(_configuration(ending, errors, seconds, components), indent=2),
            meta={"launcher_spec": {SITE: {"k8s": spec}}},
        )
        shutil.copy(ENDS, job / "app" / "custom")
        return job


def _configuration(ending: str, errors: int, seconds: float, components: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    worker: dict[str, Any] = {
        "path": "ends.Worker",
        "args": {"ending": ending, "errors": errors, "seconds": seconds},
    }
    if ending == "bad_config":
        worker = {"path": "ends.NoSuchWorker", "args": {}}
        components = [{"id": "records", "path": "ends.Records", "args": {"errors": errors}}]
    return {  # built in this order
        "format_version": 2,
        "components": list(components),
        "executors": [{"tasks": ["round"], "executor": worker}],
        "task_data_filters": [],
        "task_result_filters": [],
    }
