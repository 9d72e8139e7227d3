"""Small jobs for a real federation: each takes a few seconds."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROUNDS = Path(__file__).parents[2] / "data" / "jobs" / "rounds.py"

JOB_LOG_STREAMER = {
    "id": "my_streamer",
    "path": "nvflare.app_common.logging.job_log_streamer.JobLogStreamer",
    "args": {"target_parent_server": True},
}


def client_config(
    *,
    components: Sequence[Mapping[str, Any]] = (),
    seconds_per_round: float = 0.0,
    fails: bool = False,
    error: str = "",
) -> dict[str, Any]:
    """Give a job's config_fed_client.json as a value; `error` is logged as one in each round."""
    worker = {"path": "rounds.Worker", "args": {"seconds": seconds_per_round, "fails": fails, "error": error}}
    return {
        "format_version": 2,
        "executors": [{"tasks": ["round"], "executor": worker}],
        "task_data_filters": [],
        "task_result_filters": [],
        "components": list(components),
    }


def write_job(
    directory: Path,
    name: str,
    *,
    client_components: Sequence[Mapping[str, Any]] = (),
    rounds: int = 1,
    round_timeout: int = 60,
    seconds_per_round: float = 0.0,
    fails: bool = False,
    client_config_text: str | None = None,
    client_config_name: str = "config_fed_client.json",
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write a job's folder, ready for `Federation.submit`.

    `client_config_text`, where given, is the client's whole configuration, in whatever format
    `client_config_name` says. `meta` is put over the job's own meta.json.
    """
    job = directory / name
    config = job / "app" / "config"
    config.mkdir(parents=True)
    (job / "app" / "custom").mkdir()
    shutil.copy(ROUNDS, job / "app" / "custom")
    text = client_config_text
    if text is None:
        text = json.dumps(
            client_config(components=client_components, seconds_per_round=seconds_per_round, fails=fails), indent=2
        )
    (config / client_config_name).write_text(text)
    workflow = {"id": "rounds", "path": "rounds.Rounds", "args": {"rounds": rounds, "timeout": round_timeout}}
    (config / "config_fed_server.json").write_text(
        json.dumps({"format_version": 2, "workflows": [workflow], "components": []}, indent=2)
    )
    of_job = {"name": name, "resource_spec": {}, "min_clients": 1, "deploy_map": {"app": ["@ALL"]}, **(meta or {})}
    (job / "meta.json").write_text(json.dumps(of_job, indent=2))
    return job
