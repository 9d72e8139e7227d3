"""What the processes of a pod would be: a real shell and Python run them, NVFlare's job module only notes its words.

The kubelet's part is played: it replaces $(NAME) in words, and of two variables of one name the later one counts. What
is noted is judged by NVFlare's own parser and ConfigService.
"""

import argparse
import ast
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from nvflare.apis.fl_constant import SystemConfigs
from nvflare.app_common.logging.constants import is_log_streaming_allowed
from nvflare.fuel.utils.argument_utils import parse_vars
from nvflare.fuel.utils.config_service import ConfigService
from nvflare.private.fed.app.client.worker_process import parse_arguments

from sitelog.core.names import WORKER_MODULE

LIBRARY = "/usr/lib/site"  # where NVFlare lies in the pods' image
ENTRYPOINT = ["python3"]  # of the image
_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_NOTES_ITS_WORDS = """
import os, sys
if __name__ == "__main__":
    with open({notes!r}, "a") as notes:
        notes.write(repr((sys.argv[1:], dict(os.environ))) + "\\n")
"""
_LAUNCHED = ("python3", "-u", "-m", WORKER_MODULE)
Noted = tuple[list[str], dict[str, str]]


def expand(word: str, environment: Mapping[str, str]) -> str:
    """Replace $(NAME) and $$ as Kubernetes does; a name that is not set stays as it stands."""
    return _REFERENCE.sub(lambda m: "$" if m[1] == "$" else environment.get(m[2], m[0]), word)


def environment_of(container: Mapping[str, Any], elsewhere: Mapping[str, str]) -> dict[str, str]:
    """Give a container's environment; `elsewhere`: what the variables are whose value the manifest does not have."""
    found: dict[str, str] = {}
    for variable in container.get("env", []):
        name = variable["name"]
        found[name] = elsewhere[name] if "valueFrom" in variable else expand(variable.get("value", ""), found)
    return found


def command_lines(container: Mapping[str, Any]) -> Iterator[list[str]]:
    """Give every command line by which the kubelet would start something in a container."""
    yield [*(container.get("command") or ENTRYPOINT), *container.get("args", [])]
    handlers = [*container.get("lifecycle", {}).values()]
    handlers += [
        container[probe] for probe in ("livenessProbe", "readinessProbe", "startupProbe") if probe in container
    ]
    yield from (handler["exec"]["command"] for handler in handlers if "exec" in handler)


class Image:
    """An image with a shell, Python and NVFlare, of which only the job module's name is true."""

    def __init__(self, directory: Path) -> None:
        self._notes = directory / "notes"
        root = directory / "root"
        venv.create(root, symlinks=True)
        self._programs = root / "bin"
        self._library = next(root.glob("lib/python*/site-packages"))
        module = self._library.joinpath(*WORKER_MODULE.split(".")).with_suffix(".py")
        module.parent.mkdir(parents=True)
        module.write_text(_NOTES_ITS_WORDS.format(notes=str(self._notes)))
        for name in ("sh", "env", "nice"):
            found = shutil.which(name)
            assert found
            (self._programs / name).symlink_to(found)

    def run(self, container: Mapping[str, Any], elsewhere: Mapping[str, str]) -> list[Noted]:
        """Run everything that a container starts; give the words and the environment of each job process."""
        environment = environment_of(container, elsewhere)
        found: list[Noted] = []
        for words in command_lines(container):
            argv = [expand(word, environment) for word in words]
            if tuple(argv[: len(_LAUNCHED)]) == _LAUNCHED:  # which needs no trial
                found.append((argv[len(_LAUNCHED) :], environment))
            else:
                found += self._run(argv, environment, container.get("workingDir", "/"))
        return found

    def _run(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> list[Noted]:
        self._notes.write_text("")
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):  # the container would not start
            subprocess.run(
                [self._here(word) for word in argv],
                env={**{name: self._here(value) for name, value in environment.items()}, "PATH": str(self._programs)},
                cwd=self._here(directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=60,
            )
        return [ast.literal_eval(line) for line in self._notes.read_text().splitlines()]

    def _here(self, word: str) -> str:
        return word.replace(LIBRARY, str(self._library))


def streams(noted: Noted) -> bool:
    """Whether NVFlare's own code lets a JobLogStreamer start, as long as nothing makes it forget its words."""
    argv, environment = noted
    options = parsed(argv, environment)
    return options is not None and _is_allowed(options, environment, parse_vars(options.set))


def streams_forgetful(noted: Noted) -> bool:
    """The same where a component has initialized ConfigService anew, without the words."""
    argv, environment = noted
    options = parsed(argv, environment)
    return options is not None and _is_allowed(options, environment, None)


def parsed(argv: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace | None:
    """Give what NVFlare's job process reads from the words after the module; None if it would not start."""
    quiet = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["worker_process", *argv]),
        mock.patch.dict(os.environ, environment, clear=True),
        contextlib.redirect_stderr(quiet),
        contextlib.redirect_stdout(quiet),
    ):
        try:
            return parse_arguments()  # type: ignore[no-any-return]
        except SystemExit:
            return None


def _is_allowed(options: argparse.Namespace, environment: Mapping[str, str], words: dict[str, Any] | None) -> bool:
    ConfigService.reset()
    try:
        with mock.patch.dict(os.environ, environment, clear=True):
            ConfigService.initialize({}, ["/"], parsed_args=options, var_dict=words)
            ConfigService.add_section(SystemConfigs.RESOURCES_CONF, {})
            return bool(is_log_streaming_allowed())
    finally:
        ConfigService.reset()
