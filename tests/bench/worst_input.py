"""The worst legal configurations, and how long a decision about each keeps a processor busy: at most 250 ms."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from sitelog.core import formats
from sitelog.core.jobconfig.decision import Verdict, decide
from sitelog.core.jobconfig.formats import Format
from sitelog.core.jobconfig.json_text import UnreadableError
from sitelog.core.policy import LogStreaming, Streamer

GOAL = 0.250  # seconds
MIB = 1024 * 1024
_REPEATS = 3
_STREAMER = '{"id":"s","path":"nvflare.app_common.logging.job_log_streamer.JobLogStreamer"}'


@dataclass(frozen=True)
class Input:
    """A configuration's text, and what it is made of."""

    name: str
    text: str
    form: Format = Format.JSON


@dataclass(frozen=True)
class Measured:
    """The shortest of a few times of a decision about an input, since others use the machine, and what it was."""

    what: Input
    word: LogStreaming
    seconds: float
    verdict: Verdict


def measure() -> Iterator[Measured]:
    """Decide about each input under each word."""
    for one in inputs():
        for word in (LogStreaming.FORBIDDEN, LogStreaming.ALLOWED):
            times = []
            for _ in range(_REPEATS):
                started = time.process_time()
                verdict = decide(one.text, word, Streamer(), one.form)
                times.append(time.process_time() - started)
            yield Measured(one, word, min(times), verdict)


def inputs() -> Iterator[Input]:
    """Yield texts of 1 MiB for JSON, and for the others texts at their limits."""
    yield from _json()
    yield from _hocon()
    yield from _yaml()


def slowest_json() -> str:
    """Find the text of 1 MiB that keeps a forbidding webhook busy longest."""
    return max((one.text for one in _json()), key=_seconds_under_forbidden)


def _seconds_under_forbidden(text: str) -> float:
    started = time.process_time()
    decide(text, LogStreaming.FORBIDDEN, Streamer())
    return time.process_time() - started


def _json() -> Iterator[Input]:
    begin = '{"components":[' + _STREAMER
    yield Input("components", _of_size(begin, ',{"id":"c","path":"a.B"}', "]}"))
    argument = '{"components":[{"id":"c","path":"a.B","args":{'
    yield Input("arguments", _numbered(argument, '"k%d":{},', '"k":{}}}]}'))
    yield Input("components as arguments", _numbered(argument, '"k%d":{"path":"a.B"},', '"k":{}}}]}'))
    yield Input("numbers", _of_size(begin + '],"x":[0', ",0", "]}"))
    yield Input("strings", _of_size(begin + '],"x":[""', ',"a"', "]}"))
    yield Input("references", _of_size('{"a":{"path":"x.Y"},"components":["{a}"', ',"{a}"', "]}"))
    large = ",".join(f'"k{i}":{{"path":"z.Y"}}' for i in range(10_000))
    referred = f'{{"a":{{"path":"x.Y","args":{{{large}}}}},"components":["{{a}}"'
    yield Input("references to a large object", _of_size(referred, ',"{a}"', "]}"))
    long = '{"y":"z","x":"' + "{y}" * 16_000 + '","components":[{"id":"c","path":"{x}"}'
    yield Input("long texts with variables", _of_size(long, ',{"path":"{x}"}', "]}"))
    short = '{"y":"z","x":"' + "{y}" * 100 + '","components":[{"id":"c","path":"{x}"}'
    yield Input("texts with variables", _of_size(short, ',{"path":"{x}"}', "]}"))
    chain = "".join(f'"v{i}":"{{v{i + 1}}}",' for i in range(38))
    yield Input("long chains", _of_size(f'{{{chain}"v38":"a.B","components":["{{v0}}"', ',{"path":"{v0}"}', "]}"))
    yield Input("invocations", _of_size('{"@d":{"path":"{p}"},"components":["{@d:p=a.B}"', ',"{@d:p=a.B}"', "]}"))
    yield Input("one long text", '{"components":[{"path":"' + "x" * (MIB - 40) + '"}]}')
    yield Input("nested as deep as it can be read", begin + '],"x":' + "[" * 900 + "]" * 900 + "}")
    yield Input("nested deeper", '{"components":' + "[" * (MIB // 2 - 20) + "]" * (MIB // 2 - 20) + "}")


def _hocon() -> Iterator[Input]:
    components = f"components=[{_STREAMER}]\n"
    for name, begin, unit, end in (
        ("objects", "components=[\n", "{id=c, path=a.B}\n", "]"),
        ("numbers", f"{components}x=[", "1,", "1]"),
        ("durations", f"{components}x=[", "1 s,", "1]"),
        ("lines", components, "a=1\n", ""),
        ("keys with dots", components, "a.b.c.d.e.f.g.h=1\n", ""),
        ("words", f"{components}x=", "a ", "\n"),
        ("as JSON", '{"components":[', '{"a":1},', "{}]}"),
        ("additions", f"a=[]\n{components}", "a=${a}[1]\n", ""),
        ("substitutions", f"b=1\n{components}", "a=${b}\n", ""),
        ("empty lines", f"{components}x=[", "\n", "1]"),
        ("comments", components, "#\n", ""),
        ("line ends in braces", "{components=[]\n", "a=1\n", "}"),
        ("objects to add to", "", "a={}\n", ""),
    ):
        yield Input(name, _at_the_limit(begin, unit, end, Format.HOCON), Format.HOCON)
    doubled = "".join(f"a{i + 1}=${{a{i}}} ${{a{i}}}\n" for i in range(8))
    yield Input("lists that double", f"{components}a0=[1,2,3,4]\n{doubled}", Format.HOCON)
    yield Input("nested", f"{components}a={'[' * 280}{']' * 280}", Format.HOCON)


def _yaml() -> Iterator[Input]:
    components = f"components: [{_STREAMER}]\n"
    for name, begin, unit, end in (
        ("numbers", f"{components}x: [", "1,", "1]"),
        ("floats", f"{components}x: [", "1e3,", "1]"),
        ("objects", "components:\n", "- {id: c, path: a}\n", ""),
        ("lists", f"{components}x:\n", "- []\n", ""),
        ("substitutions", f"b: {{x: 1}}\n{components}x: [", "'${b}',", "1]"),
        ("aliases", f"{components}b: &b {{x: 1}}\nx: [", "*b ,", "1]"),
        ("comments", components, "#\n", ""),
    ):
        yield Input(name, _at_the_limit(begin, unit, end, Format.YAML), Format.YAML)
    doubled = "".join(f"a{i + 1}: ['${{a{i}}}','${{a{i}}}']\n" for i in range(8))
    yield Input("lists that double", f"{components}a0: [1,1]\n{doubled}", Format.YAML)
    yield Input("one long path", f"{components}a: '${{{'b.' * 500}c}}'", Format.YAML)
    yield Input("nested", f"{components}a: {'[' * 300}{']' * 300}", Format.YAML)


def _of_size(begin: str, unit: str, end: str) -> str:
    return begin + unit * ((MIB - len(begin) - len(end)) // len(unit)) + end


def _numbered(begin: str, unit: str, end: str) -> str:
    number = (MIB - len(begin) - len(end)) // len(unit % 99_999)
    return begin + "".join(unit % i for i in range(number)) + end


def _at_the_limit(begin: str, unit: str, end: str, form: Format) -> str:
    """Repeat a unit as often as the text is still read."""
    fits, too_many = 0, 10_000
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _is_read(begin + unit * middle + end, form):
            fits = middle
        else:
            too_many = middle
    return begin + unit * fits + end


def _is_read(text: str, form: Format) -> bool:
    try:
        formats.refuse_too_much(text, form)
    except UnreadableError:
        return False
    return True
