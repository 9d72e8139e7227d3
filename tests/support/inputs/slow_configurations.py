"""Legal configurations of up to 1 MiB that cost whoever reads them more than others: one of each kind that is known.

JSON, by what it is made of; HOCON and YAML, where no size tells what a text costs.
"""

import json
from collections.abc import Callable

from support.inputs.configurations import STREAMER

MIB = 1024 * 1024
JSON, HOCON, YAML = "config_fed_client.json", "config_fed_client.conf", "config_fed_client.yml"
_DECLARED = '{"id":"s","path":"' + STREAMER + '"}'


def _of_size(begin: str, unit: str, end: str) -> str:
    return begin + unit * ((MIB - len(begin) - len(end)) // len(unit.encode())) + end


def _numbered(begin: str, unit: str, end: str) -> str:
    number = (MIB - len(begin) - len(end)) // len(unit % 99_999)
    return begin + "".join(unit % i for i in range(number)) + end


def _references_to_a_long_text() -> str:
    return json.dumps({"a": "x" * 900_000, "components": [{"id": "s", "path": "{a}"}] * 2_400})


def _wide_copies() -> str:
    wide = {"a": "\U0001f600" * 10_400, "b": "{a}" * 9, "components": [{"path": "{b}"}] * 1_100}
    return json.dumps(wide, ensure_ascii=False)


def _given_names() -> str:
    given = ":".join(f"n{i}={i}" for i in range(12_000))
    definition = {"id": "c", "path": "a.B", "args": {"texts": [f"{{n{i}}}" for i in range(12_000)]}}
    return json.dumps({"@d": definition, "components": [f"{{@d:{given}}}"]})


def _deep_lists() -> str:
    return '{"components":' + "[" * 400 + ",".join(['""'] * 300_000) + "]" * 400 + "}"


def _shared_objects() -> str:
    doubled = {f"o{i}": {"path": "m.C", "args": dict.fromkeys("abcdefgh", f"{{o{i + 1}}}")} for i in range(30)}
    return json.dumps({**doubled, "components": ["{o0}"]})


def _doubling_text() -> str:
    return json.dumps({**{f"a{i}": f"{{a{i + 1}}}" * 2 for i in range(60)}, "components": [{"path": "{a0}"}]})


def _copies_in_copies() -> str:
    nested = {f"@d{i}": [f"{{@d{i + 1}:x={i}}}"] * 8 for i in range(12)}
    return json.dumps({**nested, "components": ["{@d0:x=1}"]})


def _aliases() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(9)]
    return "\n".join(lines)


def _doubling_substitutions(form: str) -> str:
    if form == YAML:
        return "components: []\na0: [1, 1]\n" + "".join(f"a{i + 1}: ['${{a{i}}}', '${{a{i}}}']\n" for i in range(24))
    return "components = []\na0 = [1, 2, 3, 4]\n" + "".join(f"a{i + 1} = ${{a{i}}} ${{a{i}}}\n" for i in range(24))


_BEGIN = '{"components":[' + _DECLARED
_ARGUMENTS = '{"components":[{"path":"a.B","args":{'
SLOW: dict[str, tuple[str, Callable[[], str]]] = {
    "long value referred to often": (JSON, _references_to_a_long_text),
    "many wide copies": (JSON, _wide_copies),
    "given names times texts": (JSON, _given_names),
    "deep lists of texts": (JSON, _deep_lists),
    "objects that double": (JSON, _shared_objects),
    "a text that doubles": (JSON, _doubling_text),
    "definitions in definitions": (JSON, _copies_in_copies),
    "a width": (JSON, lambda: '{"k":1,"components":[{"path":"{k:>99999999}"}]}'),
    "widths of widths": (JSON, lambda: '{"k":1,"w":99999999,"components":[{"path":"{k:>{w}}"}]}'),
    "a precision": (JSON, lambda: '{"k":1.5,"components":[{"path":"{k:.99999999f}"}]}'),
    "a number of many digits": (JSON, lambda: '{"x":' + "9" * 4_000 + ',"components":[{"path":"{x}"}]}'),
    "components": (JSON, lambda: _of_size(_BEGIN, ',{"id":"c","path":"a.B"}', "]}")),
    "arguments": (JSON, lambda: _numbered(_ARGUMENTS, '"k%d":{"path":"a.B"},', '"k":0}}]}')),
    "keys": (JSON, lambda: _numbered("{", '"k%d":0,', '"components":[]}')),
    "numbers": (JSON, lambda: _of_size(_BEGIN + '],"x":[0', ",0", "]}")),
    "empty objects": (JSON, lambda: _of_size(_BEGIN + '],"x":[{}', ",{}", "]}")),
    "small objects": (JSON, lambda: _of_size(_BEGIN + '],"x":[{}', ',{"":0}', "]}")),
    "references": (JSON, lambda: _of_size('{"a":{"path":"x.Y"},"components":["{a}"', ',"{a}"', "]}")),
    "invocations": (JSON, lambda: _of_size('{"@d":{"path":"{p}"},"components":["{@d:p=a.B}"', ',"{@d:p=a.B}"', "]}")),
    "braces": (JSON, lambda: _of_size('{"x":"', "{{", '","components":[]}')),
    "escapes": (JSON, lambda: _of_size('{"x":"', "\\u0001", '","components":[]}')),
    "nested as deep as it can be read": (JSON, lambda: _BEGIN + '],"x":' + "[" * 900 + "]" * 900 + "}"),
    "nested deeper": (JSON, lambda: '{"components":' + "[" * (MIB // 2 - 20) + "]" * (MIB // 2 - 20) + "}"),
    "HOCON: numbers": (HOCON, lambda: _of_size("components=[]\nx=[", "1,", "1]")),
    "HOCON: keys with dots": (HOCON, lambda: _of_size("components=[]\n", "a.b.c.d.e.f=1\n", "")),
    "HOCON: comments": (HOCON, lambda: _of_size("components=[]\n", "#\n", "")),
    "HOCON: one long comment": (HOCON, lambda: _of_size("components=[]\n#", "x", "")),
    "HOCON: one long text": (HOCON, lambda: _of_size('components=[]\nx="', "\\\\", '"')),
    "HOCON: words": (HOCON, lambda: _of_size("components=[]\nx=", "a ", "\n")),
    "HOCON: quotes without end": (HOCON, lambda: _of_size("components=[]\nx=", '"""', "")),
    "HOCON: nested": (HOCON, lambda: "components=[]\nx=" + "[" * 100_000),
    "HOCON: objects in objects": (HOCON, lambda: "a{" * 60 + "}" * 60),
    "HOCON: additions": (HOCON, lambda: _of_size("a=[]\ncomponents=[]\n", "a=${a}[1]\n", "")),
    "HOCON: lists that double": (HOCON, lambda: _doubling_substitutions(HOCON)),
    "HOCON: beyond the basic plane": (HOCON, lambda: _of_size('components=[]\nx="', "\U0001f600", '"')),
    "YAML: numbers": (YAML, lambda: _of_size("components: []\nx: [", "1,", "1]")),
    "YAML: objects": (YAML, lambda: _of_size("components:\n", "- {id: c, path: a}\n", "")),
    "YAML: aliases of aliases": (YAML, _aliases),
    "YAML: an anchor that contains itself": (YAML, lambda: "components: []\nx: &x [*x]\n"),
    "YAML: lists that double": (YAML, lambda: _doubling_substitutions(YAML)),
    "YAML: interpolations": (YAML, lambda: _of_size("b: {x: 1}\ncomponents: []\nx: [", "'${b}',", "1]")),
    "YAML: one long path": (YAML, lambda: _of_size("components: []\nx: '${", "b.", "c}'")),
    "YAML: nested": (YAML, lambda: "components: []\nx: " + "[" * 100_000),
    "YAML: comments": (YAML, lambda: _of_size("components: []\n", "#\n", "")),
}  # fmt: skip
