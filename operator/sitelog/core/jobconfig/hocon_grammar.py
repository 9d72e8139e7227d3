"""pyhocon's parser, confined to the text and made faster; what it reads is what pyhocon reads.

A module of its own is made from pyhocon's source, because two things have to differ for Sitelog and for nobody else in
the process: a parser that judges a text must not follow its includes or read the environment of whoever judges, and it
must not build its grammar anew for each text, which takes half of the time.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final, NoReturn

from pyparsing import (
    And,
    Empty,
    Keyword,
    Literal,
    MatchFirst,
    Opt,
    Or,
    ParseElementEnhance,
    ParseException,
    ParserElement,
    QuotedString,
    Regex,
    Word,
    ZeroOrMore,
)

from .undecidable import UndecidableError

_SPACE: Final = " \t"  # what pyhocon's grammar skips before an element
_ASCII: Final = "".join(map(chr, range(128)))
# The ASCII characters with which pyhocon's regular expressions begin. Of any other expression, nothing is known.
_OF_REGEX: Final = {
    r'"(?:[^"\\\n]|\\.)*"[ \t]*': '"',
    r'""".*?"*"""': '"',
    r"[ \t]*\$\{[^\}]+\}[ \t]*": "$",
    r"[+-]?(\d*\.\d+|\d+(\.\d+)?)([eE][+\-]?\d+)?(?=$|[ \t]*([\$\}\],#\n\r]|//))": "+-.0123456789",
    r'(?:[^^`+?!@*&"\[\{\s\]\}#,=\$\\]|\\.)+[ \t]*': "".join(c for c in _ASCII if c not in '^`+?!@*&"[{]}#,=$ \t\n\r'),
}


def parse(text: str, environment: Callable[[str], str | None]) -> Any:
    """Read a text as `pyhocon.ConfigFactory.parse_string` does, as a tree of pyhocon's.

    Parameters
    ----------
    text : the configuration.
    environment : tells the value of a variable that the text refers to and does not define.

    Raises
    ------
    undecidable.UndecidableError
        It includes something.
    """
    tree = _GRAMMAR.parse_string(text, parse_all=True)[0]
    _PYHOCON.os = SimpleNamespace(environ=_Environment(environment))
    _PYHOCON.ConfigParser.resolve_substitutions(tree)
    return tree


class _Environment:
    def __init__(self, tell: Callable[[str], str | None]) -> None:
        self.get = tell


def _include(*_: Any, **__: Any) -> NoReturn:
    raise UndecidableError("its `include`: what that brings stands elsewhere; put it into the configuration")


def _confined() -> Any:
    spec = importlib.util.find_spec("pyhocon.config_parser")
    if spec is None or spec.loader is None:
        raise ImportError("pyhocon.config_parser")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for reach in ("parse_file", "parse_URL"):
        setattr(module.ConfigFactory, reach, _include)
    module.ConfigParser.resolve_package_path = _include
    module.glob = module.urlopen = _include
    return module


def _grammar(pyhocon: Any) -> ParserElement:
    """Return the grammar that pyhocon builds for each text."""
    caught: list[ParserElement] = []

    def catch(grammar: ParserElement, *_: Any, **__: Any) -> list[None]:
        caught.append(grammar)
        return [None]

    parse_string = ParserElement.parse_string
    ParserElement.parse_string = catch  # type: ignore[method-assign, assignment]
    try:
        pyhocon.ConfigParser.parse("", resolve=False)
    finally:
        ParserElement.parse_string = parse_string  # type: ignore[method-assign]
    grammar = caught[0]
    grammar.streamline()
    for element in _elements(grammar, set()):
        if type(element) is MatchFirst:
            _look_ahead(element)
        elif type(element) is Or:
            _look_before(element)
    return grammar


def _elements(element: ParserElement, seen: set[int]) -> Iterator[ParserElement]:
    if id(element) not in seen:
        seen.add(id(element))
        yield element
        for child in element.recurse():
            yield from _elements(child, seen)


def _look_ahead(choice: MatchFirst) -> None:
    """Have a choice pass over the alternatives that cannot begin with the next character; most cannot."""
    alternatives = [(element, _beginnings(element)) for element in choice.exprs]
    candidates: dict[str, list[ParserElement]] = {}
    one_by_one = choice.parseImpl

    def parse_impl(instring: str, loc: int, do_actions: bool = True) -> Any:  # noqa: FBT001, FBT002 - pyparsing's
        at = loc
        while at < len(instring) and instring[at] in _SPACE:
            at += 1
        if at == len(instring) or instring[at] not in _ASCII:
            return one_by_one(instring, loc, do_actions)
        character = instring[at]
        if character not in candidates:
            candidates[character] = [one for one, begins in alternatives if begins is None or character in begins]
        for element in candidates[character]:
            with suppress(ParseException, IndexError):  # a fatal one is of another kind
                return element._parse(instring, loc, do_actions)  # noqa: SLF001 - as pyparsing's own choice does
        raise ParseException(instring, loc, choice.errmsg, choice)

    choice.parseImpl = parse_impl  # type: ignore[method-assign]


def _look_before(units: Or) -> None:
    """Have the units of a duration, of which the longest counts, not tried behind each number."""
    begins = _beginnings(units)
    one_by_one = units.parseImpl

    def parse_impl(instring: str, loc: int, do_actions: bool = True) -> Any:  # noqa: FBT001, FBT002 - pyparsing's
        if begins is not None and instring[loc : loc + 1] not in {*begins, *_SPACE}:
            raise ParseException(instring, loc, units.errmsg, units)
        return one_by_one(instring, loc, do_actions)

    units.parseImpl = parse_impl  # type: ignore[method-assign]


def _beginnings(element: ParserElement) -> frozenset[str] | None:  # noqa: PLR0911 - one for each kind
    """Tell the ASCII characters with which an element can begin; None: any, or it can be empty."""
    match element:
        case Empty() | ZeroOrMore() | Opt():
            return None
        case Regex():
            known = _OF_REGEX.get(str(element.pattern))
            return None if known is None else frozenset(known)
        case Keyword():
            return frozenset(element.match[0].lower() + element.match[0].upper())
        case Literal():
            return frozenset(element.match[0])
        case Word():
            return frozenset(element.initChars)
        case QuotedString():
            return frozenset(element.quote_char[0])
        case Or() | MatchFirst():
            return _union(map(_beginnings, element.exprs))
        case And():
            return _beginnings_of_all(element)
        case ParseElementEnhance(expr=ParserElement() as inner):
            return _beginnings(inner)
        case _:
            return None


def _beginnings_of_all(sequence: And) -> frozenset[str] | None:
    """Tell with what a sequence can begin: the parts that can be left out, and the first that cannot."""
    found: list[frozenset[str] | None] = []
    for part in sequence.exprs:
        if not isinstance(part, (ZeroOrMore, Opt)):
            return _union([*found, _beginnings(part)])
        found.append(_beginnings(part.expr))
    return None


def _union(parts: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    known: set[str] = set()
    for part in parts:
        if part is None:
            return None
        known |= part
    return frozenset(known)


_PYHOCON: Final[Any] = _confined()
_GRAMMAR: Final = _grammar(_PYHOCON)
