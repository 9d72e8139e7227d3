"""Objects that NVFlare changes behind a configuration's back.

A plain reference (`{name}`) to an object brings the object itself, not a copy. Where it is brought into an invocation
(`{@definition:a=1}`), that one's values are put into the object in place, and everybody else who refers to it finds
them there; which invocation comes first depends on the order of the keys. What such an object holds is nothing that a
decision may rest on.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from .undecidable import UndecidableError

_GIVING: Final = re.compile(r":[^:=}]*=")  # `:a=` in an invocation: a name that gets a value, not one that is used


def refuse_aliases(config: dict[str, Any]) -> None:
    """Make sure that no object of the configuration has more than one meaning.

    Raises
    ------
    UndecidableError
        An object that is referred to as it is uses a variable to which an invocation gives a value of its own.
    """
    texts = [text.strip() for text in _texts(config) if "{" in text or "}" in text]
    # A text that makes braces may become any reference.
    makes_braces = any("{{" in text or text.count("{") != text.count("}") for text in texts)
    given = {name for text in (_texts(config) if makes_braces else texts) for name in _given(text)}
    if not given:
        return
    for name, value in config.items():
        if not isinstance(value, (dict, list)) or not (makes_braces or f"{{{name}}}" in texts):
            continue
        used = [_GIVING.sub(" ", text) for text in _texts(value) if "{" in text]
        if any(part in text for text in used for part in given):
            raise UndecidableError(f"'{str(name)[:60]}': invocations give its variables values of their own")


def _given(text: str) -> Iterator[str]:
    """Yield the names to which a text gives values, if it is an invocation."""
    for parameter in text.strip("{} ").split(":")[1:]:
        if name := parameter.partition("=")[0].strip():
            yield name


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for child in value.values() if isinstance(value, dict) else value:
            if isinstance(child, (str, dict, list)):  # a call for each number would cost most of the time there is
                yield from _texts(child)
