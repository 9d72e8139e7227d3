"""Hypothesis strategy for job configurations by somebody who knows how NVFlare resolves them."""

from typing import Any, Final

from hypothesis import strategies as st

from support.inputs.configurations import MINIMAL, NAMESAKE, PART, STREAMER

MODULE, _, CLASS = STREAMER.rpartition(".")
LATE: Final = "nvflare.app_opt.pt.fedopt.PTFedOptModelShareableGenerator"
PROCESSES: Final = "nvflare.app_opt.pt.multi_process_executor.PTMultiProcessExecutor"
AGENT: Final = {
    "path": "nvflare.client.ipc.ipc_agent.IPCAgent",
    "config_type": "dict",
    "args": {
        "class_attributes": {
            "flare_site_url": "tcp://localhost:1",
            "flare_site_name": "site-1",
            "agent_id": "x",
            "workspace_dir": "{WORKSPACE}",
        }
    },
}
_PATHS: Final = (STREAMER, STREAMER, STREAMER, PART, PART, NAMESAKE, "{x}", "{y}", "{first}", "{whole}")

# What is given to a definition: own references, references, braces, what gets a type, what stays a text.
_given = st.sampled_from(
    [
        "x={x}", "x={y}", "y={x}", "first={second}", f"second={STREAMER}", f"x={STREAMER}", f"x={PART}", f"y={PART}",
        "l={:r=}", "n=yes", "n=007", "n=NaN", "n=No", "n=1e2", "off=true", "off=1", "kind=dict", f"whole={STREAMER}",
        "x={obj}", "w={obj}", f"cls={CLASS}", "x=x={x}", " y ={y}",
    ]
)  # fmt: skip
_definition = st.sampled_from(["@T", "@U"])
_invocations = st.builds(
    lambda name, given: "{" + ":".join([name, *given]) + "}", _definition, st.lists(_given, min_size=1, max_size=3)
)
_references = st.sampled_from(["{obj}", "{x}", "{y}", "{list}", "}obj{", "{@T}", "{nowhere}", " {obj} ", "{args}"])
_texts = st.sampled_from(
    [
        *_PATHS, "{l}obj{r}", "{l}k_{n}{r}", "{{obj}}", "{{{name}}}", "{x!s}", "{x!r}", "{x:s}", "{x:.90}", "{x:<80}",
        "{list[0]}", "{obj[path]}", "{obj[id]}", MODULE + ".{cls}", MODULE + ".JobLog{t!s}", MODULE + ".JobLog{t:8}",
        "{k_True}", "{k_7}", "{k_nan}", "{n:c}obj{m:c}", "{SITE_NAME}", "{$NUMBER}", "{$HIDDEN_CLASS}", "{$NO}{{obj}}",
        "${secret:TOKEN}", "Q: {{q}} A: {a}", "fold_{number:03d}", "{WORKSPACE}/images", "{}", "{0}", "{x.name}", "}",
    ]
)  # fmt: skip
_words = st.one_of(_texts, _texts, _references, _invocations)


def _component(words: Any) -> Any:
    return st.fixed_dictionaries(
        {"path": st.one_of(st.sampled_from(_PATHS), st.sampled_from(_PATHS), _texts)},
        optional={
            "id": st.sampled_from(["a", "b", "{n}", "auto_log_streamer", "auto_log_{t!s}", "{SITE_NAME}_x"]),
            "disabled": st.sampled_from([True, False, "{off}", "{SECURE_MODE}"]),
            "config_type": st.sampled_from(["dict", "component", "{kind}"]),
            "args": st.dictionaries(st.sampled_from(["x", "y", "class_attributes"]), words, max_size=2),
        },
    )


_leaf_components = _component(_words)
_parts = st.recursive(
    st.one_of(_words, _leaf_components),
    lambda inner: st.one_of(_component(inner), st.lists(inner, max_size=2)),
    max_leaves=4,
)
_late = st.builds(
    lambda optimizer, scheduler: {
        "path": LATE,
        "args": {"source_model": "net", "device": "cpu", "optimizer_args": optimizer, "lr_scheduler_args": scheduler},
    },
    st.one_of(st.just(AGENT), st.builds(lambda part: {**part, "config_type": "dict"}, _leaf_components), _references),
    st.one_of(st.builds(lambda part: {**part, "config_type": "dict"}, _leaf_components), _references),
)
_processes = st.builds(
    lambda inner: {"path": PROCESSES, "args": {"executor_id": "e", "components": inner}},
    st.lists(st.builds(lambda part, name: {**part, "id": name}, _leaf_components, st.sampled_from("efg")), max_size=3),
)


@st.composite
def cunning(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a configuration with definitions, invocations, shared objects, typed values and late builders."""
    config: dict[str, Any] = {"format_version": 2, **MINIMAL, "t": "Streamer", "number": 7, "n": 123, "m": 125}
    optional = {"x": _words, "y": st.sampled_from([STREAMER, PART, "{x}"]), "first": st.just("{second}")}
    optional |= {"second": st.just(PART), "name": st.just("obj"), "off": st.booleans(), "kind": st.just("dict")}
    optional |= {"cls": st.sampled_from([CLASS, "Widget"]), "whole": st.sampled_from([PART, STREAMER])}
    optional |= {key: st.sampled_from([STREAMER, PART]) for key in ("k_True", "k_7", "k_nan", "k_yes")}
    optional |= {"@T": _leaf_components, "@U": _parts, "obj": _leaf_components, "args": st.just({"x": "{obj}"})}
    optional |= {"list": st.lists(_parts, max_size=2), "note": _parts}
    config |= draw(st.fixed_dictionaries({}, optional=optional))
    entries = draw(st.lists(st.one_of(_parts, _parts, _invocations, _late, _processes), min_size=1, max_size=4))
    for number, entry in enumerate(entries):
        if isinstance(entry, dict):
            entry.setdefault("id", f"c{number}")
    entries.append({"id": "net", "path": "torch.nn.Linear", "args": {"in_features": 1}})
    where = draw(st.integers(0, 9))
    if where == 0:
        config["components"] = {f"#{number}": entry for number, entry in enumerate(entries)}
    elif where == 1:
        config["list"], config["components"] = entries, "{list}"
    elif where == 2:
        config["components.#7"], config["components"] = entries[0], entries[1:]
    else:
        config["components"] = entries
    return {key: config[key] for key in draw(st.permutations(list(config)))}
