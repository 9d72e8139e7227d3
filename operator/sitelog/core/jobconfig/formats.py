"""The formats in which NVFlare reads a job configuration: JSON, HOCON and YAML; text to the value its loader works on.

HOCON is read by pyhocon and YAML by OmegaConf, as in NVFlare (`nvflare/fuel_opt/utils/`), with the parts left out that
reach beyond the text: whoever decides must not read files, follow addresses or look into its own environment because a
configuration says so. A configuration that uses them cannot be decided from its text.
"""

import re
from enum import Enum
from typing import Any, Final

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pyhocon import ConfigFactory, ConfigTree
from pyhocon.config_parser import ConfigParser
from pyhocon.config_tree import ConfigSubstitution, ConfigValues, NoneValue
from pyhocon.exceptions import ConfigException
from pyparsing import ParseBaseException

from sitelog.core.names import Reason

from . import json_text
from .json_text import UnreadableError
from .undecidable import UndecidableError

# What is parsed in less than a tenth of a second: a decision parses a text up to three times. The examples inside
# NVFlare have up to 3 KB and 350 words.
_MAX_TEXT: Final = 8 * 1024
_MAX_HOCON_WORDS: Final = 500
_MAX_YAML_WORDS: Final = 1_200
_MAX_YAML_NODES: Final = 600  # aliases counted as often as they are used
_MAX_SUBSTITUTIONS: Final = 16  # each may double what is there; the examples have none
# What the parsers take as one: a whole line of comment, a quoted text, a word, a mark with the line's end behind it.
_WORD: Final = re.compile(
    r"""^[ \t]*(?:\#|//).*$ | "(?:[^"\\\n$]|\\[^xuU])*" | [^\s,=:{}\[\]".]+ | [,={\[]\n? | [:}\].\n"]""",
    re.MULTILINE | re.VERBOSE,
)
# pyhocon's grammar reads a file or an address after this keyword. In a string or a comment it means nothing, but to
# tell those apart is the parser's work.
_INCLUDE: Final = re.compile(r"include\s*(?:\"|url|file|package|required)", re.IGNORECASE)
_BRACED: Final = re.compile(r"(?:\s|(?:#|//).*$)*\{", re.MULTILINE)  # braces around everything, after comments
# What the parsers raise by mistake on some texts, for which NVFlare would not load them either.
_MISTAKES: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Format(str, Enum):
    """How a configuration is written."""

    JSON = "JSON"
    HOCON = "HOCON"
    YAML = "YAML"


def format_of(key: str) -> Format:
    """Tell the format by the file's name, as NVFlare does (`config_fed_client.conf.default` is HOCON)."""
    extension = key.removesuffix(".default").rpartition(".")[2]
    return {"conf": Format.HOCON, "yml": Format.YAML, "yaml": Format.YAML}.get(extension, Format.JSON)


def parse(text: str, form: Format) -> dict[str, Any]:
    """Read a configuration.

    Raises
    ------
    UnreadableError
        NVFlare could not read it either, or it is too large to be read in time.
    UndecidableError
        What NVFlare would read depends on more than the text.
    """
    if form is Format.JSON:
        return json_text.parse(text)
    refuse_too_much(text, form)
    try:
        value = _parse_hocon(text) if form is Format.HOCON else _parse_yaml(text)
    except RecursionError:
        raise UnreadableError(Reason.TOO_DEEP, "it is nested too deep to be read") from None
    if not isinstance(value, dict):
        raise UnreadableError(Reason.NOT_AN_OBJECT, "its top level is not an object")
    return value


def refuse_too_much(text: str, form: Format) -> None:
    """Refuse what could not be read in time.

    Raises
    ------
    UnreadableError
        The text is larger than its format's parser can be given; JSON of any size can be read.
    """
    if form is Format.JSON:
        return
    words = _MAX_HOCON_WORDS if form is Format.HOCON else _MAX_YAML_WORDS
    if len(text) > _MAX_TEXT:
        excess = f"{_MAX_TEXT} characters"
    elif sum(1 for _ in _WORD.finditer(text)) > words:
        excess = f"{words} words and marks"
    elif text.count("${") > _MAX_SUBSTITUTIONS:
        excess = f"{_MAX_SUBSTITUTIONS} substitutions"
    else:
        return
    message = f"it has more than {excess}, too much {form.value} to be read in time; write it as JSON"
    raise UnreadableError(Reason.TOO_LARGE, message)


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
        text = (
            json_text.dump(config)
            if form is Format.HOCON
            else yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        )
    except (TypeError, ValueError, yaml.YAMLError):
        text = ""
    if not text or not _says(text, config, form):
        raise UnreadableError(Reason.FORMAT_UNSUPPORTED, f"it holds what cannot be written back as {form.value}")
    return text


def extend(text: str, after: dict[str, Any], form: Format) -> str:
    """Write `after`, which is what the text says and one more component at the end; keep the text where possible.

    HOCON can be added to, at the end or within the braces around everything: what a person wrote stays.
    """
    if form is Format.HOCON:
        before = "" if len(after["components"]) == 1 else "${components} "
        addition = f"\ncomponents = {before}[{json_text.compact(after['components'][-1])}]\n"
        head, brace, tail = text.rpartition("}")
        longer = f"{text.rstrip()}{addition}"
        if _BRACED.match(text):
            longer = f"{head.rstrip()}{addition}{brace}{tail}"
        if _says(longer, after, form):
            return longer
    return dump(after, form)


def _says(text: str, config: dict[str, Any], form: Format) -> bool:
    try:
        return parse(text, form) == config
    except (UnreadableError, UndecidableError):
        return False


def _parse_hocon(text: str) -> Any:
    if _INCLUDE.search(text):
        raise UndecidableError("its `include`: what that brings stands elsewhere; put it into the configuration")
    try:
        tree = ConfigFactory.parse_string(text, resolve=False)
        if isinstance(tree, ConfigTree):
            _refuse_environment(tree)
        ConfigParser.resolve_substitutions(tree)
    except (ParseBaseException, ConfigException) as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise UnreadableError(Reason.NOT_HOCON, f"it is not HOCON{where}") from None
    except _MISTAKES:
        raise UnreadableError(Reason.NOT_HOCON, "pyhocon cannot read it") from None
    return _plain(tree)


def _refuse_environment(tree: Any) -> None:
    """Refuse what pyhocon would take from the environment: a name that the text does not define."""
    for key, history in getattr(tree, "history", {}).items():
        for substitution in _substitutions(history):
            name = substitution.variable
            own = ConfigTree.parse_key(name)[0] == key and len(history) == 1
            if own or not _defines(tree, name):
                raise UndecidableError(f"${{{name[:60]}}}: only the job's environment would tell; write its value")


def _substitutions(item: Any) -> list[ConfigSubstitution]:
    if isinstance(item, ConfigValues):
        inner = [token for token in item.tokens if not isinstance(token, ConfigSubstitution)]
        return [*item.get_substitutions(), *_substitutions(inner)]
    children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return [substitution for child in children for substitution in _substitutions(child)]


def _defines(tree: ConfigTree, name: str) -> bool:
    """Whether a name leads to something, at least as far as it can be followed before substitution."""
    value: Any = tree
    for part in ConfigTree.parse_key(name):
        if isinstance(value, ConfigValues):
            return True  # itself a substitution, which is looked at on its own
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def _plain(item: Any) -> Any:
    """Make of pyhocon's tree what NVFlare makes of it (`PyhoconConfig._convert_conf_item`)."""
    if isinstance(item, ConfigTree):
        return {key.strip('"'): _plain(child) for key, child in item.items()}
    if isinstance(item, list):
        return [_plain(child) for child in item]
    return None if isinstance(item, NoneValue) else item


def _parse_yaml(text: str) -> Any:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _size(node, {}) > _MAX_YAML_NODES:
            raise UnreadableError(Reason.TOO_LARGE, "its aliases make it too large to be read in time")
        loaded = OmegaConf.create(text)
        raw = OmegaConf.to_container(loaded, resolve=False)
        if _calls_resolver(raw):
            raise UndecidableError("${...:...}: only the job itself would tell what that gives; write its value")
        return OmegaConf.to_container(loaded, resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UnreadableError(Reason.NOT_YAML, f"it is not YAML that OmegaConf reads{where}") from None
    except _MISTAKES:
        raise UnreadableError(Reason.NOT_YAML, "OmegaConf cannot read it") from None


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the nodes of a document, those behind an alias each time that it is used."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MAX_YAML_NODES + 1  # an anchor that contains itself has no end
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _calls_resolver(item: Any) -> bool:
    if isinstance(item, dict):
        return any(_calls_resolver(child) for pair in item.items() for child in pair)
    if isinstance(item, list):
        return any(map(_calls_resolver, item))
    return isinstance(item, str) and "${" in item and ":" in item[item.index("${") :]
