"""Job pods as NVFlare's own Kubernetes launcher creates them: recorded from one, made to fit a test."""

import json
from pathlib import Path

from support.control_plane_api import Json

RECORDED = Path(__file__).parents[1] / "data" / "pods" / "launched.json"


def job_pod(name: str, job_id: str | None = None, client: str | None = "site-1") -> Json:
    """Give a pod's manifest.

    Parameters
    ----------
    job_id, client
        What follows `-n` and `-c` on its command line; None: that option is missing. Without a job id, the name.
    """
    text = RECORDED.read_text()
    recorded = json.loads(text)["metadata"]["name"]
    pod: Json = json.loads(text.replace(recorded, name))
    arguments: list[str] = pod["spec"]["containers"][0]["args"]
    for option, value in (("-n", name if job_id is None else job_id), ("-c", client)):
        where = arguments.index(option)
        arguments[where : where + 2] = [option, value] if value else []
    return pod
