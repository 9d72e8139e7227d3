"""Classes and functions that build components from their arguments, by name, after the loader is done.

The table is made from NVFlare 2.9.0's wheel; a test goes through the wheel and fails where that has others. The names
are compared without their modules, since a module that imports a class offers it under its own path, too. What a job's
own classes and those of other packages do with their arguments is theirs: the second and third lock hold them.
"""

from typing import Final

from .unknown import class_name, is_marked, may_name

# class -> arguments with descriptions of components: an object, a list of objects, or the class path alone
LATE_BUILDERS: Final = {
    "PTFedOptModelShareableGenerator": ("optimizer_args", "lr_scheduler_args"),  # engine.build_component at START_RUN
    "FedOpt": ("optimizer_args", "lr_scheduler_args"),  # the controllers of PyTorch and TensorFlow
    "MultiProcessExecutor": ("components",),  # ComponentBuilder in this process and in each of its own
    "PTMultiProcessExecutor": ("components",),
    "PTFileModelPersistor": ("model",),  # instantiate_class at START_RUN
    "TFModelPersistor": ("model",),
    "GlobalEvaluator": ("model_path",),  # importlib and a call at START_RUN
}
# What makes any object out of a text among its arguments, or evaluates the text, and would take a streamer's name or an
# expression with one: functions in the place of a class, called with named arguments, and what reads annotations.
# Of NVFlare, of Python, and of packages that come with NVFlare or are met in its jobs.
BUILDS_BY_NAME: Final = frozenset(
    (
        "instantiate_class", "instantiate_from_config", "load_class", "optional_import", "find_task_fn",
        "import_module", "__import__", "resolve_name", "locate", "eval", "exec", "timeit", "runctx", "get_type_hints",
        "get_annotations", "dictConfig", "DictConfigurator",
        "TypeAdapter", "create_model", "parse_obj_as", "unsafe_load", "unsafe_load_all", "import_app", "import_string",
    )
)  # fmt: skip
# The same under names that mean something else elsewhere.
BUILDS_BY_NAME_IN: Final = {
    "cProfile": ("run",),
    "profile": ("run",),
    "timeit": ("repeat",),
    "inspect": ("signature",),
    "numpy": ("measure", "runstring"),
    "yaml": ("load", "load_all", "full_load", "full_load_all"),
    "hydra": ("instantiate", "call"),
    "monai": ("instantiate", "run"),
}
_LONGEST_PACKAGE: Final = 20  # characters


def late_arguments(path: str) -> tuple[str, ...]:
    """Return the arguments from which the class at this path builds components later."""
    if not is_marked(path):
        return LATE_BUILDERS.get(class_name(path), ())
    possible = [names for late, names in LATE_BUILDERS.items() if may_name(f".{path}", late)]
    return tuple(dict.fromkeys(name for names in possible for name in names))


def builds_by_name(path: str) -> bool:
    """Whether what stands at this class path makes any object out of a text."""
    if not is_marked(path):
        last = class_name(path)
        return last in BUILDS_BY_NAME or last in BUILDS_BY_NAME_IN.get(path[:_LONGEST_PACKAGE].partition(".")[0], ())
    return any(may_name(path, name) for name in BUILDS_BY_NAME)
