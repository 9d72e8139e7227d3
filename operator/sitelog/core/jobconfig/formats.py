"""The formats in which NVFlare reads a job configuration: JSON, HOCON and YAML; text to the value its loader works on.

Each is read by the reader that NVFlare uses, confined to the text: whoever decides must not read files, follow
addresses or look into its own environment because a configuration says so. HOCON and YAML cost their readers what they
like; `sitelog.decider` bounds it.
"""

from contextlib import suppress
from enum import Enum
from typing import Any, Final

import yaml
from omegaconf.errors import OmegaConfBaseException

from sitelog.core.names import Reason

from . import hocon, json_text, yaml_text
from .json_text import UnreadableError
from .reading import Reading
from .undecidable import UndecidableError

_NOT_WRITABLE: Final = (TypeError, ValueError, yaml.YAMLError, OmegaConfBaseException)


class Format(str, Enum):
    """How a configuration is written."""

    JSON = "JSON"
    HOCON = "HOCON"
    YAML = "YAML"


def format_of(key: str) -> Format:
    """Tell the format by the file's name, as NVFlare does (`config_fed_client.conf.default` is HOCON)."""
    extension = key.removesuffix(".default").rpartition(".")[2]
    return {"conf": Format.HOCON, "yml": Format.YAML, "yaml": Format.YAML}.get(extension, Format.JSON)


def read(text: str, form: Format) -> Reading:
    """Read a configuration.

    Raises
    ------
    UnreadableError
        NVFlare could not read it either.
    UndecidableError
        What NVFlare would read depends on more than the text.
    """
    if form is Format.JSON:
        return Reading(json_text.parse(text))
    return hocon.read(text) if form is Format.HOCON else yaml_text.read(text)


def dump(config: dict[str, Any], form: Format) -> str:
    """Write a configuration. As HOCON it is written as JSON, which HOCON contains.

    Raises
    ------
    UnreadableError
        It holds something that cannot be written so that the same comes back.
    """
    if form is Format.JSON:
        return json_text.dump(config)
    try:
        text = hocon.dump(config) if form is Format.HOCON else yaml_text.dump(config)
    except _NOT_WRITABLE:
        text = ""
    if not text or not _says(text, config, form):
        what = _not_writable(config) or "it"
        message = f"{what} holds a value that cannot be written back as {form.value}; write the configuration as JSON"
        raise UnreadableError(Reason.FORMAT_UNSUPPORTED, message)
    return text


def _not_writable(value: Any, place: str = "") -> str | None:
    """Name the first field whose value no text of JSON's types stands for, such as the 10 s of HOCON."""
    if isinstance(value, dict):
        children = ((f"{place}.{key}" if place else str(key), child) for key, child in value.items())
    elif isinstance(value, list):
        children = ((f"{place}[{index}]", child) for index, child in enumerate(value))
    else:
        return None if value is None or isinstance(value, str | bool | int | float) else place
    return next((found for at, child in children if (found := _not_writable(child, at))), None)


def extended(text: str, after: dict[str, Any], form: Format) -> str | None:
    """Add a component to a text, which stays as it is written; None where that cannot be done.

    `after`: what the text says, and the component at the end of `components`.
    """
    entries, longer = after["components"], None
    if isinstance(entries, list) and form is Format.HOCON:
        longer = hocon.extended(text, entries[-1], first=len(entries) == 1)
    elif isinstance(entries, list) and form is Format.YAML:
        with suppress(*_NOT_WRITABLE):
            longer = yaml_text.extended(text, entries[-1])
    return longer if longer is not None and _says(longer, after, form) else None


def _says(text: str, config: dict[str, Any], form: Format) -> bool:
    try:
        return read(text, form).config == config
    except (UnreadableError, UndecidableError):
        return False
