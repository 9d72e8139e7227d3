"""Text that only the job's own process knows, marked.

Such a text goes through like any other. It decides only where it stands in the name of a class that is built. A
configuration that holds one of the marks itself is taken to be less certain than it is, never more.
"""

import re
from typing import Final

NAME: Final = "\u2370"  # some text, not empty, without a dot, a slash or a brace
TEXT: Final = "\u235e"  # some text, perhaps empty, without a brace
_PATH: Final = "/" + TEXT
_ADDRESS: Final = f"{NAME}://{TEXT}"

# Set by NVFlare for each job process (ClientJsonConfigurator, `sys_vars`); they hide keys of the same name. NVFlare has
# no name of a site or a job with a dot in it, since dots part the names of its cells.
SYSTEM_VARIABLES: Final = {
    "JOB_ID": NAME,
    "SITE_NAME": NAME,
    "WORKSPACE": _PATH,
    "ROOT_URL": _ADDRESS,
    "CP_URL": _ADDRESS,
    "RELAY_URL": _ADDRESS,
    "SECURE_MODE": TEXT,
    "JOB_CUSTOM_DIR": _PATH,
    "JOB_CONFIG_DIR": _PATH,
}
_LONGEST_NAME: Final = 200  # characters; no class that Sitelog knows has a name of half as many


def is_marked(text: str) -> bool:
    """Whether a part of the text is known to the job only."""
    return NAME in text or TEXT in text


def class_name(path: str) -> str:
    """Return the last part of a class path, or the end of one that is longer than any that Sitelog knows."""
    return path[-_LONGEST_NAME:].rpartition(".")[2]


def may_be(text: str, other: str) -> bool:
    """Whether a text, perhaps marked, may be this other one where the job runs."""
    pattern = ".*".join(re.escape(part) for part in re.split(f"[{NAME}{TEXT}]+", text[-_LONGEST_NAME:]))
    return text == other or (is_marked(text) and re.fullmatch(pattern, other, re.DOTALL) is not None)


def may_name(path: str, name: str) -> bool:
    """Whether a class path may, where the job runs, lead to a class of this name, whatever module it is asked for in.

    A job's own code may carry a class under another path. A class that merely has the name within its own is another.
    """
    if not is_marked(path):
        return path.endswith("." + name)
    if "/" in path:
        return False  # Python has no such name
    _, dot, last = path.rpartition(".")
    if TEXT in last:
        return name.endswith(last.rpartition(TEXT)[2]) or may_be(last[last.rindex(TEXT) :], name)
    return bool(dot or TEXT in path) and may_be(last, name)
