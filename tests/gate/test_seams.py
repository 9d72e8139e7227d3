"""Each place where the gate takes hold of NVFlare. A failure here means that this NVFlare has moved it."""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, JobConstants
from nvflare.apis.fl_context import FLContextManager
from nvflare.apis.workspace import Workspace
from nvflare.app_common.logging import constants, site_log_streamer
from nvflare.fuel.utils.config import ConfigFormat
from nvflare.fuel.utils.config_factory import ConfigFactory
from nvflare.private.fed.client import client_engine
from nvflare.private.fed.client.client_engine import ClientEngine
from nvflare.private.fed.utils.app_deployer import AppDeployer

from sitelog.core import names
from sitelog.gate.__main__ import CLIENT_TRAIN

PARAMETERS = ["self", "workspace", "job_id", "job_meta", "app_name", "app_data", "fl_ctx"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("startup", "local"):
        (tmp_path / folder).mkdir()
    return tmp_path


def test_the_engine_makes_its_default_deployer_from_its_modules_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client_engine.AppDeployer is AppDeployer, "client_engine.AppDeployer is no longer NVFlare's AppDeployer"
    calls = []

    class Recorder(AppDeployer):
        def deploy(self, **arguments: object) -> str:
            calls.append(arguments)
            return "no"

    monkeypatch.setattr(client_engine, "AppDeployer", Recorder)
    engine = SimpleNamespace(
        args=SimpleNamespace(workspace=str(root)), get_component=lambda _: None, new_context=lambda: "context"
    )

    answer = ClientEngine.deploy_app(engine, "app", "job-1", {}, "site-1", b"data")

    assert calls, "ClientEngine.deploy_app no longer looks AppDeployer up in its module: the gate would be passed by"
    assert list(calls[0]) == PARAMETERS[1:], "ClientEngine.deploy_app calls deploy() with other arguments"
    assert calls[0]["workspace"].site_name == "site-1", "the workspace no longer carries the client's name"
    assert answer == "NVFLARE_ERROR: no", "an error text from deploy() no longer fails the deployment"


def test_deploy_takes_what_the_gate_gives() -> None:
    assert list(inspect.signature(AppDeployer.deploy).parameters) == PARAMETERS, "AppDeployer.deploy has changed"
    assert list(inspect.signature(AppDeployer).parameters) == [], "AppDeployer needs arguments now"


def test_the_engines_context_carries_the_clients_arguments() -> None:
    arguments = SimpleNamespace(client_config="config/config_fed_client.json")
    manager = FLContextManager(engine=None, identity_name="site-1")
    with manager.new_context() as context:
        context.set_prop(key=FLContextKey.ARGS, value=arguments, private=True, sticky=True)  # as client_train.main does

    later = manager.new_context()

    assert later.get_prop(FLContextKey.ARGS) is arguments, "client_train's arguments no longer reach deploy()"
    assert later.get_identity_name() == "site-1", "the context no longer knows the client's name"


def test_client_train_puts_the_configurations_name_into_its_arguments() -> None:
    source = (Path(client_engine.__file__).parents[1] / "app" / "client" / "client_train.py").read_text()
    assert "args.client_config = os.path.join(config_folder, JobConstants.CLIENT_JOB_CONFIG)" in source, (
        "client_train no longer says in its arguments which configuration a job process loads"
    )
    assert "key=FLContextKey.ARGS" in source or "FLContextKey.ARGS, args" in source, (
        "client_train no longer puts its arguments into the context"
    )


def test_the_look_up_of_a_configuration_knows_the_extensions_that_the_webhook_knows(tmp_path: Path) -> None:
    extensions = [".json", ".conf", ".yml", ".yaml"]
    assert list(ConfigFormat.config_ext_formats()) == [*extensions, *(f"{ext}.default" for ext in extensions)]
    assert f"{names.CONFIG_BASENAME}.json" == JobConstants.CLIENT_JOB_CONFIG
    assert ConfigFactory.search_config_format(str(tmp_path / JobConstants.CLIENT_JOB_CONFIG)) == (None, None)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "config_fed_client.yml").touch()
    _, found = ConfigFactory.search_config_format(str(tmp_path / JobConstants.CLIENT_JOB_CONFIG))
    assert found == str(tmp_path / "sub" / "config_fed_client.yml"), "the look-up no longer goes into subfolders"


def test_site_log_streamer_asks_its_modules_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site_log_streamer.is_log_streaming_allowed is constants.is_log_streaming_allowed, (
        "site_log_streamer no longer imports is_log_streaming_allowed from constants"
    )
    assert list(inspect.signature(constants.is_log_streaming_allowed).parameters) == ["fl_ctx"]
    asked = []
    monkeypatch.setattr(site_log_streamer, "is_log_streaming_allowed", lambda ctx: bool(asked.append(ctx)))
    streamer = site_log_streamer.SiteLogStreamer(log_file_name="error_log.txt")
    folder = Path(Workspace(str(root), site_name="site-1").get_app_config_dir("job-1"))
    folder.mkdir(parents=True)
    (folder / "config_fed_client.json").write_text("{}")
    stickers = {FLContextKey.WORKSPACE_ROOT: str(root), FLContextKey.PROCESS_TYPE: "CP"}
    context = FLContextManager(engine=None, identity_name="site-1", private_stickers=stickers).new_context()
    context.set_prop(FLContextKey.JOB_META, {"job_id": "job-1"}, private=True, sticky=False)

    for event in (EventType.BEFORE_JOB_LAUNCH, EventType.JOB_COMPLETED):
        for handler, keywords in streamer.get_event_handlers()[event]:
            handler(event, context, **keywords)

    assert asked == [context, context], "SiteLogStreamer no longer asks is_log_streaming_allowed at both of its events"


@pytest.mark.parametrize("arguments", [["--help"], ["--no-such-option"], []], ids=["help", "unknown", "none"])
def test_the_gate_is_a_drop_in_for_client_train(arguments: list[str]) -> None:
    def run(module: str) -> tuple[int, str, str]:
        environment = {**os.environ, "SITELOG_GATE_NAMESPACE": "any"}
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
        return done.returncode, done.stdout, done.stderr

    assert run("sitelog.gate") == run(CLIENT_TRAIN), "python -m sitelog.gate no longer behaves as client_train"


def test_a_setting_that_cannot_be_used_ends_the_client_with_its_name() -> None:
    environment = {**os.environ, "SITELOG_GATE_NAMESPACE": "any", "SITELOG_GATE_FAILURE_POLICY": "Maybe"}
    command = [sys.executable, "-m", "sitelog.gate", "-m", ".", "-s", "fed_client.json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "sitelog.gate: SITELOG_GATE_FAILURE_POLICY is 'Maybe': it must be Fail or Ignore\n"


def test_the_kubernetes_client_is_there_before_a_job_waits_for_it() -> None:
    """It has hundreds of modules, and imports them when a name of it is first asked for: for seconds."""
    asked = "import sys, sitelog.gate.publisher; sys.exit('kubernetes.client.api.core_v1_api' not in sys.modules)"
    subprocess.run([sys.executable, "-c", asked], check=True)
