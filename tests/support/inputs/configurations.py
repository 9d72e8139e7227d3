"""Hypothesis strategies for job configurations: as people write them, and as somebody who hides a streamer would."""

import json
import random
from typing import Any, Final

from hypothesis import strategies as st

from sitelog.core.policy.policy import Streamer

STREAMER: Final = "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"
PART: Final = "support.job_parts.Part"
NAMESAKE: Final = "support.job_parts.JobLogStreamerStatistics"
WORKER: Final = "support.job_parts.Worker"
SIEVE: Final = "support.job_parts.Sieve"
MINIMAL: Final = {
    "format_version": 2,
    "executors": [{"tasks": ["train"], "executor": {"path": WORKER}}],
}

# A job process's environment, as far as a configuration may ask for it: the site can be anybody.
ENVIRONMENT: Final = {"HIDDEN_CLASS": STREAMER, "HIDDEN_NAME": "JobLogStreamer", "NUMBER": "1", "REFERENCE": "{obj}"}

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["JobLogStreamer", "log.txt", "é", "\u2028", "{", "a}b", "auto_log_streamer"]),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
streamers = st.builds(
    Streamer,
    log_file_name=st.sampled_from(["log.txt", "error_log.txt", "log_fl.txt", "Klinikum Süd.txt"]),
    liveness_interval=st.one_of(st.just(10.0), st.floats(0.001, 29.999)),
    poll_interval=st.one_of(st.just(0.5), st.floats(0.001, 29.999)),
)


# --- what people write: components in the open --------------------------------------------------------------------
_class_names = st.sampled_from(
    [STREAMER, STREAMER, "mine.JobLogStreamer", NAMESAKE, PART, PART, PART, "nvflare.widgets.widget.Widget"]
)
_plain_args = st.dictionaries(st.sampled_from(["log_file_name", "a", "b"]), leaves, max_size=2)
_nested_args = st.builds(
    lambda path, key: {"inner": {key: path, "args": {}}},
    st.sampled_from([STREAMER, PART, PART, PART]),
    st.sampled_from(["path", "class_path"]),
)
_entries = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c", "auto_log_streamer", "auto_log_streamer_2", "é"])},
    optional={"args": st.one_of(_plain_args, _plain_args, _nested_args), "disabled": st.booleans(), "note": leaves},
)
_classes = st.one_of(
    st.builds(lambda name: {"path": name}, _class_names),
    st.builds(lambda name: {"path": name}, _class_names),
    st.builds(lambda name: {"path": name}, _class_names),
    st.builds(lambda name: {"class_path": name}, _class_names),
    st.builds(lambda name: {"path": name, "class_path": STREAMER}, _class_names),
    st.builds(lambda name: {"name": name}, st.sampled_from(["Widget", "JobLogStreamer", "NPTrainer"])),
    st.sampled_from([{}, {"path": ""}, {"path": None}, {"path": 7}, {"path": ["JobLogStreamer"]}]),
)
_components = st.one_of(
    st.builds(lambda cls, entry: {**cls, **entry}, _classes, _entries),
    st.builds(lambda cls, entry: {**entry, **cls}, _classes, _entries),
    st.builds(lambda cls, entry: {**entry, **cls}, _classes, _entries),
    st.sampled_from([{}, None, 3, "text", []]),
)
_sound_lists = st.lists(
    st.builds(
        lambda name, entry: {**entry, "path": name},
        _class_names,
        _entries,
    ),
    max_size=4,
)
_lists = st.one_of(
    _sound_lists,
    _sound_lists,
    st.lists(_components, max_size=4),
    st.sampled_from([None, {}, "", "text", 0, {"a": 1}]),
)


@st.composite
def plain(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a configuration without variables: mostly sound, all sections, keys in any order."""
    config: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "format_version": st.just(2),
                "components": _lists,
                "executors": st.one_of(
                    st.just(MINIMAL["executors"]),
                    st.just([{"tasks": ["t"], "executor": {"path": WORKER, "args": {"inner": {"path": PART}}}}]),
                    values,
                ),
                "task_data_filters": st.sampled_from([[], [{"tasks": ["t"], "filters": [{"path": SIEVE}]}]]),
                "task_result_filters": st.sampled_from([[], [{"tasks": ["t"], "filters": [{"path": STREAMER}]}]]),
                "note": values,
            },
        )
    )
    keys = draw(st.permutations(list(config)))
    return {key: config[key] for key in keys}


_styles = st.tuples(st.sampled_from([None, 0, 2, 4, "\t"]), st.booleans(), st.sampled_from(["", "\n", "\r\n\t "]))


@st.composite
def plain_texts(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """Draw a plain configuration, and its text in one of the ways in which people and programs write it."""
    config = draw(plain())
    indent, ascii_only, tail = draw(_styles)
    text = json.dumps(config, indent=indent, ensure_ascii=ascii_only) + tail
    return config, text if _is_utf8(text) else json.dumps(config)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- how a class can be hidden ------------------------------------------------------------------------------------
def hidden(target: str, way: str, config: dict[str, Any], rng: random.Random) -> str:  # noqa: C901, PLR0911 - a table
    """Return a text that stands for a class path, and define in `config` what it needs."""
    module, _, name = target.rpartition(".")
    key = f"v{rng.randrange(1000)}"
    match way:
        case "variable":
            config[key] = target
            return f"{{{key}}}"
        case "spaced":
            config[key] = target
            return f"  {{{key}}} "
        case "name":
            config[key] = name
            return f"{module}.{{{key}}}"
        case "pieces":
            middle = rng.randrange(len(target))
            config[key], config[f"{key}x"] = target[:middle], target[middle:]
            return f"{{{key}}}{{{key}x}}"
        case "chain":
            config[key], config[f"{key}x"] = f"{{{key}x}}", f"{module}.{{{key}y}}"
            config[f"{key}y"] = name
            return f"{{{key}}}"
        case "environment":
            return "{$HIDDEN_CLASS}" if target == STREAMER else target
        case "name in the environment":
            return f"{module}.{{$HIDDEN_NAME}}" if target == STREAMER else target
        case "site":
            return f"{module}.{{SITE_NAME}}" if target == STREAMER else target
        case "attribute":
            config[key] = target
            return f"{{{key}!s}}" if rng.random() < 0.5 else f"{{{key}:s}}"  # the latter asks for an object
        case "index":
            config[key] = {"x": target}
            return f"{{{key}[x]}}." if rng.random() < 0.1 else f"{module}.{{{key}x[0]}}"
        case "cut":  # to one character, which only the job knows
            config[key] = name[3:5]
            length = rng.choice(["{SECURE_MODE:d}", "{$NUMBER}"])
            return f"{module}.{name[:3]}{{{key}:.{length}}}{name[4:]}"
    return target


WAYS: Final = (
    "plain",
    "plain",
    "variable",
    "spaced",
    "name",
    "pieces",
    "chain",
    "environment",
    "name in the environment",
    "site",
    "attribute",
    "index",
    "cut",
)


def described(target: str, config: dict[str, Any], rng: random.Random, component_id: str) -> Any:
    """Describe a component: in itself, by reference to an object, or as the invocation of a definition."""
    body: dict[str, Any] = {"id": component_id}
    body[rng.choice(["path", "path", "path", "class_path"])] = hidden(target, rng.choice(WAYS), config, rng)
    if rng.random() < 0.2:
        body["class_path"] = rng.choice([STREAMER, PART])
    if rng.random() < 0.15:
        body["config_type"] = rng.choice(["component", "dict", "{kind}"])
        config["kind"] = rng.choice(["component", "dict"])
    if rng.random() < 0.1:
        body["disabled"] = rng.choice([True, False, "{off}"])
        config["off"] = rng.choice([True, False, None])
    if rng.random() < 0.5:
        body["args"] = {}
    key = f"o{rng.randrange(1000)}"
    match rng.randrange(9):
        case 4:
            config["obj"] = body
            return "{$REFERENCE}"
        case 0:
            config[key] = body
            return f"{{{key}}}"
        case 1:
            config[f"@{key}"] = body
            return f"{{@{key}}}"
        case 2:
            module, _, name = target.rpartition(".")
            config[f"@{key}"] = {**body, "path": rng.choice([f"{module}.{{which}}", "{whole}"])}
            config["given"] = name
            which = rng.choice([name, "{given}"])
            return f"{{@{key}:which={which}:whole={target}}}"
        case 3:
            config[f"@{key}"] = "{" + f"@{key}x" + ":which=" + target.rpartition(".")[2] + "}"
            config[f"@{key}x"] = {**body, "path": target.rpartition(".")[0] + ".{which}"}
            return f"{{@{key}}}"
    return body


_TARGETS: Final = (STREAMER, STREAMER, PART, PART, PART, NAMESAKE, "support.job_parts.JobLogStreamer")


def _placed(config: dict[str, Any], rng: random.Random, number: int) -> None:  # noqa: C901 - a table
    """Put one component somewhere where the loader may build it."""
    target = rng.choice(_TARGETS)
    what = described(target, config, rng, f"c{number}")
    entries = config.setdefault("components", [])
    where = rng.randrange(13)
    if where < 5 and isinstance(entries, list):
        entries.insert(rng.randrange(len(entries) + 1), what)
    elif where == 5:
        config[f"components.#{number + 40}"] = what
    elif where in (6, 7) and isinstance(entries, list):
        owner: dict[str, Any] = {"id": f"owner{number}", "path": PART, "args": {"inner": what, "plain": 1}}
        if rng.random() < 0.3:
            owner = {"id": f"outer{number}", "path": PART, "args": {"inner": owner, "list": [what]}}
        if rng.random() < 0.3:
            config[f"args{number}"] = owner["args"]
            owner["args"] = f"{{args{number}}}"
        entries.append(owner)
    elif where == 8 and isinstance(entries, list):
        entries.append({"id": f"w{number}", "path": PART, "args": {"class_attributes": {"inner": what}}})
    elif where == 9 and isinstance(entries, list):
        config[f"list{number}"] = [*entries, what]
        config["components"] = f"{{list{number}}}"
    elif where == 10 and not entries:
        config["components"] = {"#1": what, rng.choice(["#2", "x"]): what}
    elif where == 11:
        config["executors.#7.executor"] = what
    elif where == 12:
        section = rng.choice(["task_data_filters", "task_result_filters"])
        config.setdefault(section, [{"tasks": ["train"], "filters": [{"path": SIEVE, "args": {"inner": what}}]}])


@st.composite
def devious(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a configuration that NVFlare mostly loads, with components and classes in every disguise it allows."""
    rng = draw(st.randoms(use_true_random=False))
    config: dict[str, Any] = {"format_version": 2}
    for number in range(draw(st.integers(1, 4))):
        _placed(config, rng, number)
    config.setdefault("executors", MINIMAL["executors"])
    keys = draw(st.permutations(list(config)))
    return {key: config[key] for key in keys}


# --- anything that looks like one ---------------------------------------------------------------------------------
_words = st.sampled_from(
    ["support.job_parts.", "JobLog", "Streamer", "JobLogStreamer", STREAMER, PART, "component", "}"]
)
_references = st.sampled_from(
    [
        "{a}",
        "{b}",
        "{x}",
        "{@a}",
        "{@a:p=JobLogStreamer}",
        "{@b:p={q}:q=JobLogStreamer}",
        "{@b:q=" + STREAMER + "}",
        "{a:p=JobLogStreamer}",
        "{p}",
        "{q}",
        "{{a}}",
    ]
)
# Only `p` and `q` stand within other text, and they hold no references: NVFlare lets texts grow without bound.
_strings = st.one_of(
    _words,
    _references,
    st.builds("{}{}".format, _words, st.sampled_from(["{p}", "{q}", "{p}{q}", "{{p}}", "Streamer"])),
)
_described = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c"]), "path": st.one_of(_strings, st.sampled_from([STREAMER, PART, PART]))},
    optional={"args": st.dictionaries(st.sampled_from(["x", "y"]), st.one_of(_references, _strings), max_size=2)},
)
_trees = st.recursive(
    st.one_of(_strings, st.sampled_from([None, True, 1, STREAMER, PART])),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"id": st.sampled_from(["a", "b", "c"]), "path": st.one_of(_strings, st.sampled_from([STREAMER, PART]))},
            optional={"args": st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)},
        ),
        st.fixed_dictionaries({"path": _strings}, optional={"args": inner, "name": _strings}),
        st.dictionaries(st.sampled_from(["#1", "#2", "executor", "args", "path", "x"]), inner, max_size=2),
        st.lists(inner, max_size=2),
    ),
    max_leaves=5,
)


@st.composite
def chaotic(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a configuration whose keys and texts are the loader's own vocabulary, put together at random."""
    config: dict[str, Any] = {"format_version": 2, "executors": MINIMAL["executors"]}
    keys = st.sampled_from(["a", "b", "@a", "@b", "x", "x", "components.#3", "executors.#7"])
    config |= draw(st.dictionaries(keys, _trees, max_size=5))
    config |= draw(st.dictionaries(st.sampled_from(["p", "q"]), _words, max_size=2))
    config["components"] = draw(st.one_of(st.lists(st.one_of(_described, _references), max_size=3), _trees))
    return {key: config[key] for key in draw(st.permutations(list(config)))}
