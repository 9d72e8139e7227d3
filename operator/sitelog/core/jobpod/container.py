"""A container as the second lock sees it: everything in its manifest that can start a process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# The API server looks no further either (charts/sitelog/templates/_pods.tpl). A job pod of NVFlare's launcher has about
# 40 words and 1,000 characters.
MOST_CONTAINERS: Final = 50
MOST_WORDS: Final = 1000
MOST_CHARACTERS: Final = 50_000  # a newline for each word included


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
    def words(self) -> tuple[str, ...]:
        """Every text from which a process can take what it runs."""
        hooks = (word for hook in self.hooks for word in hook)
        return (*self.argv, *hooks, *(variable.value for variable in self.environment), self.directory)


def is_too_large(containers: Sequence[Container]) -> bool:
    """Whether a pod has more than is looked at."""
    if len(containers) > MOST_CONTAINERS or sum(len(container.words) for container in containers) > MOST_WORDS:
        return True
    return sum(len(word) + 1 for container in containers for word in container.words) > MOST_CHARACTERS
