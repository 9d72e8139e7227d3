"""What Sitelog knows about NVFlare's JobLogStreamer: how a configuration names it, and how it is declared."""

import sys
from typing import Any, Final

from sitelog.core.policy import Streamer

from .loader import Component
from .variables import Unknown

STREAMER_CLASS: Final = "JobLogStreamer"
STREAMER_PATH: Final = f"nvflare.app_common.logging.job_log_streamer.{STREAMER_CLASS}"
STREAMER_ID: Final = "auto_log_streamer"
_DEFAULTS: Final = Streamer()
# NVFlare 2.9.0 and what it requires, by the names under which they are imported.
_INSTALLED: Final = frozenset(
    (
        "nvflare", "aiohttp", "cryptography", "docker", "flask", "flask_jwt_extended", "flask_sqlalchemy", "google",
        "grpc", "gunicorn", "jinja2", "msgpack", "numpy", "psutil", "pydantic", "pyhocon", "pyparsing", "requests",
        "safetensors", "sqlalchemy", "urllib3", "werkzeug", "yaml", "omegaconf", "kubernetes",
    )
)  # fmt: skip


def names_streamer(component: Component) -> bool:
    """Whether the loader would build a JobLogStreamer here.

    The class decides, whatever module it is asked for in: a job's own code may carry it under another path. A class
    that merely has the word in its name is another class.
    """
    name = component.class_name
    return isinstance(name, str) and name.rpartition(".")[2] == STREAMER_CLASS


def may_become_streamer(component: Component) -> bool:
    """Whether only the job's own process will know what is built here.

    That is so for a class named by the job's environment, and for a function in the place of a class, which can make
    any class out of its arguments: Python's own, NVFlare's, or one of the packages that come with NVFlare
    (`yaml.unsafe_load`). A job's own code may call its classes as it likes.
    """
    name = component.class_name
    if component.disabled:
        return False
    if isinstance(name, Unknown):
        return True
    if name is None or "." not in name:
        return False
    top, last = name.partition(".")[0], name.rpartition(".")[2]
    return top in sys.stdlib_module_names or (top in _INSTALLED and not last[:1].isupper())


def entry(streamer: Streamer, component_id: str) -> dict[str, Any]:
    """Build the component as NVFlare's SiteLogStreamer does: arguments only where they differ from the defaults."""
    args: dict[str, Any] = {"target_parent_server": True}
    if streamer.log_file_name != _DEFAULTS.log_file_name:
        args["log_file_name"] = streamer.log_file_name
    if streamer.liveness_interval != _DEFAULTS.liveness_interval:
        args["liveness_interval"] = streamer.liveness_interval
    if streamer.poll_interval != _DEFAULTS.poll_interval:
        args["poll_interval"] = streamer.poll_interval
    return {"id": component_id, "path": STREAMER_PATH, "args": args}


def free_id(taken: set[str]) -> str:
    """Return `auto_log_streamer`, or the next one with a number: two components of one id would stop the job."""
    number, candidate = 1, STREAMER_ID
    while candidate in taken:
        number += 1
        candidate = f"{STREAMER_ID}_{number}"
    return candidate
