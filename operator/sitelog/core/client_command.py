"""The command line of a site's FL client, and the same one with Sitelog's gate before NVFlare's own module."""

from collections.abc import Sequence
from itertools import pairwise

from .names import CLIENT_MODULE

_MODULE_OPTION = "-m"


class ClientCommandError(Exception):
    """A command line into which the gate cannot be put."""


def is_client_command(argv: Sequence[str]) -> bool:
    """Whether a container with this command line runs NVFlare's client without the gate, by itself or by a shell."""
    return any(CLIENT_MODULE in argument for argument in argv)


def through_gate(command: Sequence[str], args: Sequence[str], folder: str) -> tuple[list[str], list[str]]:
    """Let Python run a folder in the place of NVFlare's module; every other argument stays.

    A folder, and not a module that PYTHONPATH leads to: a pod that sets the variable takes away what the image, or a
    ConfigMap that the pod names, says in it.

    Parameters
    ----------
    command, args : of a container that runs NVFlare's client.
    folder : what `sitelog install-gate` made.

    Raises
    ------
    ClientCommandError
        It is started in another way than by `-m` and the module as two arguments.
    """
    argv = [*command, *args]
    if any(CLIENT_MODULE in argument and argument != CLIENT_MODULE for argument in argv):
        raise ClientCommandError("the module is no argument of its own on its command line")
    where = next((i for i, pair in enumerate(pairwise(argv)) if pair == (_MODULE_OPTION, CLIENT_MODULE)), None)
    if where is None:
        raise ClientCommandError(f"{_MODULE_OPTION} does not stand before the module on its command line")
    # The folder takes the module's place, so that the border between command and args stays where it was.
    changed: list[str | None] = [*argv[:where], None, folder, *argv[where + 2 :]]
    first, rest = changed[: len(command)], changed[len(command) :]
    return [one for one in first if one is not None], [one for one in rest if one is not None]
