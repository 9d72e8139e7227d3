"""A container as the second lock sees it: everything in its manifest that can start a process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# The API server checks no more either (charts/sitelog/templates/_pods.tpl). A job pod of NVFlare's launcher has about
# 40 texts and 1,000 characters.
MAX_CONTAINERS: Final = 50
MAX_TEXTS: Final = 1000
MAX_CHARACTERS: Final = 50_000  # a newline for each text included


@dataclass(frozen=True)
class Variable:
    """A variable of a container's environment; `value` is empty where it comes from elsewhere (`valueFrom`)."""

    name: str
    value: str = ""


@dataclass(frozen=True)
class Container:
    """What a container runs.

    Attributes
    ----------
    name : its name.
    command, args : its command line, as the manifest has the two parts.
    hooks : the command lines of its lifecycle hooks and probes.
    environment : the variables, in their order.
    directory : its working directory, or empty.
    """

    name: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    hooks: tuple[tuple[str, ...], ...] = ()
    environment: tuple[Variable, ...] = ()
    directory: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command line."""
        return (*self.command, *self.args)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text from which a process can take what it runs."""
        hooks = (argument for hook in self.hooks for argument in hook)
        return (*self.argv, *hooks, *(variable.value for variable in self.environment), self.directory)


def is_too_large(containers: Sequence[Container]) -> bool:
    """Whether a pod has more than is checked."""
    if len(containers) > MAX_CONTAINERS or sum(len(container.texts) for container in containers) > MAX_TEXTS:
        return True
    return sum(len(text) + 1 for container in containers for text in container.texts) > MAX_CHARACTERS
