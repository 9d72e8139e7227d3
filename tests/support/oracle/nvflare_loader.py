"""NVFlare's own ClientJsonConfigurator and START_RUN as the oracle: what a job process builds, and what starts."""

import argparse
import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContextManager
from nvflare.apis.workspace import Workspace
from nvflare.app_common.logging.job_log_streamer import JobLogStreamer
from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.stats_pool import StatsPoolManager
from nvflare.fuel.utils import component_builder, json_scanner
from nvflare.fuel.utils.config_service import ConfigService
from nvflare.private.event import fire_event
from nvflare.private.fed.client.client_json_config import ClientJsonConfigurator
from nvflare.private.fed.client.client_run_manager import ClientRunManager


@dataclass
class Loaded:
    """What NVFlare did with a configuration.

    Attributes
    ----------
    classes : path of each class that it built or tried to build, in order.
    components : class of each component by id, as the job would look it up.
    streamers : how many JobLogStreamers came to life, on whatever way, at START_RUN too.
    started : how many of them started to stream.
    failed : why the job would not start, or None.
    system_variables : what NVFlare itself defines for the configuration.
    """

    classes: list[str] = field(default_factory=list)
    components: dict[str, str] = field(default_factory=dict)
    streamers: int = 0
    started: int = 0
    failed: str | None = None
    system_variables: frozenset[str] = frozenset()


class NvflareLoader:
    """A job process's loading of its configuration, one after another."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        self._app = root / "app"
        for folder in (root / "startup", root / "local", root / "job-1", self._app):
            folder.mkdir()
        (root / "job-1" / "meta.json").write_text("{}")
        self._workspace = Workspace(str(root), "site-1")

    def close(self) -> None:
        self._folder.cleanup()

    def __call__(self, text: str, extension: str = ".json", *, locked: bool = False) -> Loaded:
        """Load a configuration as `ClientAppRunner.create_client_runner` does, and start the run.

        `locked` puts the word into the process's arguments that keeps log streamers still.
        """
        for old in self._app.iterdir():
            old.unlink()
        (self._app / f"config_fed_client{extension}").write_text(text, encoding="utf-8", newline="")
        loaded = Loaded()
        with _observed(loaded):
            try:
                # It asks for the .json and takes what is there.
                self._load(loaded, self._app / "config_fed_client.json", ["allow_log_streaming=false"] * locked)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                loaded.failed = f"{type(error).__name__}: {error}"
        return loaded

    def _load(self, loaded: Loaded, file: Path, words: list[str]) -> None:
        arguments = argparse.Namespace(
            sp_scheme="http",
            sp_target="localhost:1",
            client_name="site-1",
            job_id="job-1",
            workspace=self._folder.name,
            parent_url="",
            set=[],
        )
        configurator = ClientJsonConfigurator(
            workspace_obj=self._workspace,
            config_file_name=str(file),
            app_root=str(self._app),
            args=arguments,
            kv_list=["secure_train=True", *words],
        )
        loaded.system_variables = frozenset(configurator.sys_vars)
        configurator.set_component_build_authorizer(lambda *_args, **_keywords: "")
        configurator.configure()
        loaded.components = {
            name: type(part).__module__ + "." + type(part).__qualname__
            for name, part in configurator.runner_config.components.items()
        }
        self._start_run(configurator)

    def _start_run(self, configurator: ClientJsonConfigurator) -> None:
        """Fire START_RUN as `ClientRunner.init_run` does; what components raise, NVFlare only logs."""
        config = configurator.runner_config
        manager = ClientRunManager(
            client_name="site-1",
            job_id="job-1",
            workspace=self._workspace,
            client=mock.Mock(),
            components=config.components,
            handlers=config.handlers,
            conf=configurator,
        )
        context = FLContextManager(
            engine=manager, identity_name="site-1", job_id="job-1", public_stickers={}, private_stickers={}
        ).new_context()
        context.set_prop(FLContextKey.WORKSPACE_ROOT, self._folder.name, private=True)
        context.set_prop(FLContextKey.WORKSPACE_OBJECT, self._workspace, private=True)
        fire_event(EventType.START_RUN, config.handlers, context)


def _short_message(_scanner: Any, error: Exception, *_: Any) -> str:
    return str(error)[:300]


@contextmanager
def _observed(loaded: Loaded) -> Iterator[None]:
    """Count what is built; keep quiet what NVFlare prints, and its process-wide settings from other tests."""
    held = (CoreCell.ALL_CELLS, StatsPoolManager.pools)  # an agent's, of which a process has one
    before = [set(names) for names in held]
    build, born = component_builder.instantiate_class, JobLogStreamer.__init__

    def recorded_build(class_path: str, arguments: Any) -> Any:
        loaded.classes.append(class_path)
        return build(class_path, arguments)

    def recorded_birth(self: FLComponent, *args: Any, **keywords: Any) -> None:
        loaded.streamers += 1
        born(self, *args, **keywords)

    def recorded_start(_self: FLComponent) -> None:
        """Stand where a streamer that may stream looks for its file; without one it does no more."""
        loaded.started += 1

    logging.disable(logging.CRITICAL)
    try:
        with (
            mock.patch.object(component_builder, "instantiate_class", recorded_build),
            mock.patch.object(JobLogStreamer, "__init__", recorded_birth),
            mock.patch.object(JobLogStreamer, "_find_log_path", recorded_start),
            # What it does for its messages only, once for each level of nesting.
            mock.patch.object(json_scanner, "secure_log_traceback"),
            mock.patch.object(json_scanner, "ConfigFactory"),
            mock.patch.object(json_scanner.JsonScanner, "get_process_err_msg", _short_message),
            redirect_stdout(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(logging.NOTSET)
        ConfigService.reset()
        for names, known in zip(held, before, strict=True):
            for name in names.keys() - known:
                del names[name]
