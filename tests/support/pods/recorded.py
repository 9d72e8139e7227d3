"""Recorded cases (tests/data/recorded): what a real cluster said about job pods of NVFlare's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sitelog.core.jobpod.pod import JobPod, PodEvent
from sitelog.kube.pods import parse_event, parse_job_pod

FOLDER = Path(__file__).parents[2] / "data" / "recorded"
CASES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def watch(case: str) -> Iterator[dict[str, Any]]:
    """Yield the watch events of the case's pod, in order."""
    for line in (FOLDER / case / "watch.jsonl").read_text().splitlines():
        yield json.loads(line)


def pods(case: str) -> list[tuple[str, JobPod]]:
    """Return the type of each watch event, and the pod as it was then."""
    seen = [(event["type"], parse_job_pod(event["object"])) for event in watch(case)]
    return [(kind, pod) for kind, pod in seen if pod is not None]


def events(case: str) -> list[PodEvent]:
    """Return the Kubernetes Events about the case's pod."""
    return [parse_event(body) for body in json.loads((FOLDER / case / "events.json").read_text())]


def file(case: str, name: str) -> bytes:
    """Return one of the case's logs."""
    return (FOLDER / case / name).read_bytes()
