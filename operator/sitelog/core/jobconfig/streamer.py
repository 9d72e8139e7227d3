"""What Sitelog knows about NVFlare's JobLogStreamer: how a configuration names it, and how it is declared."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from sitelog.core.policy.policy import Streamer

from .builders import builds_by_name
from .components import Component
from .unknown import is_marked, may_be, may_name

STREAMER_CLASS: Final = "JobLogStreamer"
STREAMER_PATH: Final = f"nvflare.app_common.logging.job_log_streamer.{STREAMER_CLASS}"
STREAMER_ID: Final = "auto_log_streamer"
_DEFAULTS: Final = Streamer()


def names_streamer(component: Component) -> bool:
    """Whether a JobLogStreamer would be built here, unless the component is disabled."""
    name = component.class_name
    return name is not None and not is_marked(name) and may_name(name, STREAMER_CLASS)


def may_become_streamer(component: Component) -> bool:
    """Whether only the job's own process will know what is built here.

    That is so for a class named by the job's environment, and for what makes any object out of a text.
    """
    name = component.class_name
    if component.disabled or name is None:
        return False
    return builds_by_name(name) or (is_marked(name) and may_name(name, STREAMER_CLASS))


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


def free_id(components: Sequence[Component], text: str) -> str:
    """Return an id that no component has, since two of one id would stop the job.

    That is `auto_log_streamer`, or the next one with a number; where only the job knows an id that might be the same,
    one with the configuration's digest in it, which nobody can have written into the configuration.
    """
    ids = [component.description.get("id") for component in components if not component.nested]
    taken = {name for name in ids if isinstance(name, str)}
    number, candidate = 1, STREAMER_ID
    while candidate in taken:
        number += 1
        candidate = f"{STREAMER_ID}_{number}"
    if any(may_be(name, candidate) for name in taken if is_marked(name)):
        return f"{STREAMER_ID}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return candidate
