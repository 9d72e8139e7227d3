"""HOCON and YAML: read as NVFlare reads them in an empty environment, and written so that the same comes back."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nvflare
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.fuel_opt.utils.omegaconf_loader import OmegaConfLoader
from nvflare.fuel_opt.utils.pyhocon_loader import PyhoconLoader
from pyhocon.config_tree import NoneValue

from sitelog.core.jobconfig.formats import Format, dump, extended, read
from sitelog.core.jobconfig.json_text import UnreadableError
from sitelog.core.jobconfig.reading import Reading
from sitelog.core.jobconfig.undecidable import UndecidableError
from sitelog.core.jobconfig.verdict import judge
from sitelog.core.names import Decision, Reason
from sitelog.core.policy.policy import LogStreaming, Streamer
from support.inputs.configurations import STREAMER
from support.inputs.hypothesis_profiles import at_least

FORBIDDEN, ALLOWED = LogStreaming.FORBIDDEN, LogStreaming.ALLOWED
REAL = sorted(Path(nvflare.__file__).parent.rglob("*.conf"))


def hocon_of_nvflare(text: str) -> Any:
    return without_none(PyhoconLoader().load_config_from_str(text).to_dict())


def without_none(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: without_none(child) for key, child in item.items()}
    if isinstance(item, list):
        return [without_none(child) for child in item]
    return None if isinstance(item, NoneValue) else item


@pytest.mark.parametrize("file", REAL, ids=lambda file: "-".join(file.parts[-3:]))
def test_every_real_configuration_is_read_as_by_nvflare(file: Path) -> None:
    text = file.read_bytes().decode()
    assert read(text, Format.HOCON).config == hocon_of_nvflare(text)


HOCON = st.text(alphabet='{}[]":=,.$?+#/\n\\ \t ab1s0e"truenlincd\'-é', max_size=60) | st.lists(
    st.sampled_from(
        (
            *"{}[]:=,.\n#",
            *(
                ' "a b" ',
                "a",
                "b.c",
                "1",
                "-2.5e3",
                "10 s",
                "true",
                "null",
                '"""x"""',
                "${a}",
                "${?b}",
                "+=",
                "//",
                "é",
            ),
            *("\\", "\\\n", "include", "included", " x y ", '"\\u00e9"'),
        )
    ),
    max_size=24,
).map(lambda parts: "".join(("a = 1\n", *parts)))


@at_least(400)
@given(HOCON)
def test_hocon_is_read_as_by_nvflare(text: str) -> None:
    expected, reading = outcome(hocon_of_nvflare, text), outcome(lambda text: read(text, Format.HOCON), text)
    if isinstance(reading, Reading):
        assert shown(reading.config) == shown(expected) or reading.config is reading.elsewhere
    else:
        assert isinstance(reading, UnreadableError) or "include" in str(reading)
        assert not isinstance(expected, dict) or "include" in str(reading)


def shown(item: Any) -> str:
    """Without the addresses of its own objects that pyhocon puts into texts by mistake."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(item))


def outcome(read_it: Callable[[str], Any], text: str) -> Any:
    try:
        return read_it(text)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job is not loaded
        return error


@pytest.mark.parametrize(
    "text",
    [
        'include "/etc/hostname"',
        'a { include file("x") }',
        'a = include url("http://x.invalid/y")',
        'include package("os:x")',
        'x = [include "a*"]',
        'a { b { include required(file("/etc/hostname")) } }',
        'INCLUDE   "x"',
    ],
)
def test_an_include_is_not_followed(text: str) -> None:
    with pytest.raises(UndecidableError, match="include"):
        read(text, Format.HOCON)


@pytest.mark.parametrize(
    "text",
    [
        'a = 1 # include "x"',
        '// include "x"\na=1',
        'a = "include \\"x\\""',
        "include = 1",
        "mode = include",
        "included=1",
    ],
)
def test_the_word_include_means_nothing_by_itself(text: str) -> None:
    assert read(text, Format.HOCON).config == hocon_of_nvflare(text)


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def _set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROBE", "only the webhook knows this")
        monkeypatch.setenv("OMEGACONF_MAX_YAML_EXPANDED_NODES", "1")

    @pytest.mark.parametrize(
        ("form", "text", "config", "elsewhere"),
        [
            (Format.HOCON, "a = 1\na = ${?PROBE}", {"a": 1}, {"a": "{$PROBE}"}),
            (Format.HOCON, "a = ${?PROBE}", {}, {"a": "{$PROBE}"}),
            (Format.HOCON, "a = ${PROBE}", {"a": "{$PROBE}"}, {"a": "{$PROBE}"}),
            (Format.HOCON, 'PROBE = ${PROBE}":x"', {"PROBE": "{$PROBE}:x"}, {"PROBE": "{$PROBE}:x"}),
            (
                Format.HOCON,
                "gone = null\nPROBE = ${gone}\na = ${?PROBE}",
                {"gone": None},
                {"gone": None, "a": "{$PROBE}"},
            ),
            (Format.YAML, "a: x${oc.env:PROBE}", {"a": "x{$PROBE}"}, {"a": "x{$PROBE}"}),
            (
                Format.YAML,
                "b: ${a}\na: ${oc.env:PROBE}",
                {"b": "{$PROBE}", "a": "{$PROBE}"},
                {"b": "{$PROBE}", "a": "{$PROBE}"},
            ),
            (Format.YAML, "server: h\nurl: http://${server}:8002/x", {"server": "h", "url": "http://h:8002/x"}, None),
        ],
    )
    def test_nothing_is_taken_from_it(self, form: Format, text: str, config: Any, elsewhere: Any) -> None:
        reading = read(text, form)
        assert reading.config == config
        if elsewhere is None or form is Format.YAML:
            assert reading.elsewhere == elsewhere
        else:
            assert {**elsewhere, **(reading.elsewhere or {})} == (reading.elsewhere or {})

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            (Format.HOCON, 'components = [{path = "a.JobLog"${?PROBE}}]'),
            (Format.HOCON, f'components = [{{path = "a.B"}}]\nc = "{STREAMER}"\ncomponents = [{{path = ${{PROBE}}}}]'),
            (Format.YAML, "components: [{path: '${oc.env:PROBE,a.B}'}]"),
            (Format.YAML, "components: '${oc.create:\"[]\"}'"),
        ],
    )
    def test_a_class_that_it_decides_is_refused(self, form: Format, text: str) -> None:
        verdict = judge(text, FORBIDDEN, Streamer(), form)
        assert (verdict.decision, verdict.reason) == (Decision.REFUSED, Reason.UNDECIDABLE)

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            (Format.HOCON, "rate = 0.01\nrate = ${?RATE}\ncomponents = []"),
            (Format.HOCON, "rate = ${RATE}\ncomponents = []"),
            (Format.YAML, "rate: ${oc.env:RATE,0.01}\ncomponents: []"),
        ],
    )
    def test_anything_else_that_it_decides_is_not_touched(self, form: Format, text: str) -> None:
        verdict = judge(text, FORBIDDEN, Streamer(), form)
        assert (verdict.decision, verdict.text) == (Decision.CLEAN, text)
        injected = judge(text, ALLOWED, Streamer(), form)
        assert injected.decision is Decision.INJECTED
        assert "RATE" in str(injected.text)

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            (Format.HOCON, f'rate = 0.01\nrate = ${{?RATE}}\ncomponents = [{{path = "{STREAMER}"}}]'),
            (Format.HOCON, f'rate = ${{?RATE}}\ncomponents = [{{path = "{STREAMER}"}}]'),
            (Format.YAML, f"rate: ${{oc.env:RATE,0.01}}\ncomponents: [{{path: {STREAMER}}}]"),
        ],
    )
    def test_a_value_that_it_may_replace_is_not_lost(self, form: Format, text: str) -> None:
        verdict = judge(text, FORBIDDEN, Streamer(), form)
        assert (verdict.decision, verdict.reason) == (Decision.REFUSED, Reason.UNDECIDABLE)
        assert "environment" in verdict.message

    @pytest.mark.parametrize(
        "text",
        [
            "o = ${?o} [1]",
            "o = ${?NOPE} [1]",
            "o {k = 1}\no = ${?NOPE}",
            "o = ${?o} {k = 1}",
            "b {z = 1}\no = ${?NOPE} ${b} {k = 1}",
        ],
    )
    def test_a_value_that_it_could_only_break_is_none_of_its(self, text: str) -> None:
        text += f'\ncomponents = ${{?components}} [{{id = "s", path = "{STREAMER}"}}]'
        verdict = judge(text, FORBIDDEN, Streamer(), Format.HOCON)
        assert verdict.decision is Decision.STRIPPED
        assert verdict.text is not None
        before = hocon_of_nvflare(text)
        assert hocon_of_nvflare(verdict.text) == {**before, "components": []}


YAML_TEXTS = st.sampled_from(
    ["5e-5", "1e3", "1_000", "yes", "On", "n", "0x1f", "1:30", "null", "~", ".inf", "2020-01-01", "é", "a: b", " x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | YAML_TEXTS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(YAML_TEXTS | st.text(min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@at_least(300)
@given(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), st.sampled_from((Format.HOCON, Format.YAML)))
def test_what_is_written_is_read_back_by_nvflare_as_it_was(config: dict[str, Any], form: Format) -> None:
    try:
        text = dump(config, form)
    except UnreadableError as error:
        assert error.reason is Reason.FORMAT_UNSUPPORTED  # noqa: PT017 - or it is written, and right
        return
    of_nvflare = (
        hocon_of_nvflare(text) if form is Format.HOCON else OmegaConfLoader().load_config_from_str(text).to_dict()
    )
    assert json.dumps(of_nvflare) == json.dumps(config)


@pytest.mark.parametrize(
    ("form", "text", "field"),
    [
        (Format.HOCON, "a {b = [1, {c = 10 seconds}]}\ncomponents = []", "a.b[1].c"),
        (Format.YAML, f"x: 0x{'f' * 5000}\ncomponents: []", "it"),  # more decimal digits than Python converts
    ],
)
def test_what_cannot_be_written_back_is_named(form: Format, text: str, field: str) -> None:
    verdict = judge(text, ALLOWED, Streamer(), form)
    if verdict.decision is Decision.INJECTED:  # beside it, in the text as it is written
        assert form is Format.HOCON
        verdict = judge(verdict.text or "", FORBIDDEN, Streamer(), form)
        assert verdict.text is None
    assert verdict.reason is Reason.FORMAT_UNSUPPORTED
    assert verdict.message.startswith(f"{field} holds a value that cannot be written back as {form.value}")


def test_a_component_is_added_to_yaml_without_a_change_of_anything_else() -> None:
    text = 'lr: "5e-5"\nserver: h\nurl: http://${server}:80\ncomponents:\n- {id: a, path: x.Y, args: {v: "1e3"}}\n'
    config = read(text, Format.YAML).config
    after = {**config, "components": [*config["components"], {"id": "b", "path": "x.Z"}]}
    longer = extended(text, after, Format.YAML)
    assert longer is not None
    assert read(longer, Format.YAML).config == after
    assert "${server}" in longer
