"""Each lock alone, on real FL jobs: their logs reach the server under Allowed, and do not under Forbidden.

No gate, no cluster, and the two other locks are away. Where nothing may arrive, a job that streams runs beside.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sitelog.core.configmap.configmap import ConfigMap
from sitelog.core.configmap.decide import decide
from sitelog.core.jobconfig.formats import format_of
from sitelog.core.jobconfig.verdict import judge
from sitelog.core.names import Decision
from sitelog.core.policy.effective import effective
from sitelog.core.policy.policy import LogStreaming, Policy, Streamer
from support.federation.federation import SITE, Federation
from support.federation.jobs import JOB_LOG_STREAMER, client_config, write_job
from support.wait import wait_for

ALLOWED, FORBIDDEN = LogStreaming.ALLOWED, LogStreaming.FORBIDDEN
TORCH = Path(__file__).parents[1] / "data" / "jobs" / "torch"
LAUNCHERS = Path(__file__).parents[1] / "data" / "sites"
PATH = JOB_LOG_STREAMER["path"]
MODULE = PATH.rpartition(".")[0]
SILENCED = "JobLogStreamer disabled: 'allow_log_streaming' is set to False"


def streams(file: str) -> dict[str, Any]:
    """Arguments of a streamer; each of several in one job streams a file of its own, which shows that it ran."""
    return {"target_parent_server": True, "log_file_name": file}


def built_later(path: str, **attributes: Any) -> dict[str, Any]:
    """Describe a component that another one builds at run time, with these arguments and no others."""
    return {"config_type": "dict", "path": path, "args": {"class_attributes": attributes}}


JSON_JOB = {
    **client_config(),
    "module": MODULE,
    "whole": {"id": "s3", "path": PATH, "args": streams("log_fl.txt")},
    "components": [
        {"id": "s1", "class_path": PATH, "args": streams("log.txt")},
        {"id": "s2", "path": "{module}.JobLogStreamer", "args": streams("log.json")},
        "{whole}",
    ],
}
HOCON_JOB = f"""
module = "{MODULE}", to {{ target_parent_server = true }}
format_version = 2
executors = [{{ tasks = ["round"], executor {{ path = "rounds.Worker" }} }}]
task_data_filters = [], task_result_filters = []
components = [{{ id = s1, path = ${{module}}".JobLogStreamer", args = ${{to}} }}]
other = ${{to}} {{ log_file_name: log.json }}
components = ${{components}} [{{ id: s2, class_path: ${{module}}.JobLogStreamer, args: ${{other}} }}]
"""
YAML_JOB = f"""
format_version: 2
executors: [{{tasks: [round], executor: {{path: rounds.Worker}}}}]
task_data_filters: []
task_result_filters: []
args: &args {{target_parent_server: true}}
name: JobLogStreamer
components:
  - {{id: s1, path: "{MODULE}.${{name}}", args: *args}}
"""
# file name -> (the configuration, the logs that its streamers store)
JOBS = {
    "config_fed_client.json": (json.dumps(JSON_JOB), ("log.txt", "log.json", "log_fl.txt")),
    "config_fed_client.conf": (HOCON_JOB, ("log.txt", "log.json")),
    "config_fed_client.yml": (YAML_JOB, ("log.txt",)),
}
# NVFlare's FedOpt builds both at START_RUN. The agent's constructor initializes ConfigService again, without --set.
FORGETS = {
    **client_config(),
    "components": [
        {"id": "net", "path": "torch.nn.Linear", "args": {"in_features": 1, "out_features": 1}},
        {
            "id": "fed_opt",
            "path": "nvflare.app_opt.pt.fedopt.PTFedOptModelShareableGenerator",
            "args": {
                "source_model": "net",
                "device": "cpu",
                "optimizer_args": built_later(
                    "nvflare.client.ipc.ipc_agent.IPCAgent",
                    flare_site_url="tcp://localhost:1",
                    flare_site_name=SITE,
                    agent_id="agent",
                    workspace_dir="{WORKSPACE}",
                ),
                "lr_scheduler_args": built_later(PATH, **streams("log.txt")),
            },
        },
    ],
}
DECLARED, _ = JOBS["config_fed_client.json"]


@pytest.fixture(scope="module")
def site(federation: Federation) -> Iterator[Federation]:
    """The federation, its site without NVFlare's SiteLogStreamer, and with a launcher that can say the word."""
    resources = federation.workspace(SITE) / "local" / "resources.json"
    before = resources.read_text() if resources.exists() else None
    federation.edit(SITE, _own_launcher)
    restart(federation)
    yield federation
    if before is None:
        resources.unlink()
    else:
        resources.write_text(before)
    federation.stop_site()
    federation.start_site()


def _own_launcher(resources: dict[str, Any]) -> None:
    others = [one for one in resources["components"] if one["id"] not in ("process_launcher", "site_log_streamer")]
    resources["components"] = [*others, {"id": "process_launcher", "path": "told_launcher.ToldLauncher"}]
    # NVFlare provisions true, which goes before the environment: under ErrorLogOnly Sitelog takes it out.
    assert resources.pop("allow_log_streaming") is True


def restart(site: Federation) -> None:
    site.stop_site()
    site.start_site(env={"PYTHONPATH": str(LAUNCHERS)})


def submit(site: Federation, directory: Path, name: str, text: str, file: str = "config_fed_client.json") -> str:
    job = write_job(directory, name, client_config_text=text, client_config_name=file)
    shutil.copytree(TORCH, job / "app" / "custom" / "torch")
    return site.submit(job)


def wait_stored(site: Federation, job_id: str, files: Sequence[str]) -> None:
    assert site.wait(job_id) == "FINISHED:COMPLETED"
    wanted = {f"LOG_{file}_{SITE}" for file in files}
    wait_for(lambda: wanted <= site.stored(job_id).keys(), 60, f"{sorted(wanted)} on the server")


def assert_nothing_arrived(site: Federation, job_id: str) -> None:
    assert site.wait(job_id) == "FINISHED:COMPLETED"
    assert site.stored(job_id) == {}
    assert not (site.staging / job_id).exists()


def log_of(site: Federation, job_id: str) -> str:
    return (site.workspace(SITE) / job_id / "log.txt").read_text()


def test_the_first_lock_alone_by_the_text(site: Federation, tmp_path: Path) -> None:
    allowed, forbidden = {}, {}
    for number, (file, (text, _)) in enumerate(JOBS.items()):
        left = judge(text, ALLOWED, Streamer(), format_of(file))
        assert (left.decision, left.text) == (Decision.DECLARED, text)
        stripped = judge(text, FORBIDDEN, Streamer(), format_of(file))
        assert stripped.decision is Decision.STRIPPED
        assert stripped.text is not None
        allowed[file] = submit(site, tmp_path, f"allowed-{number}", text, file)
        forbidden[file] = submit(site, tmp_path, f"forbidden-{number}", stripped.text, file)

    for file, (_, logs) in JOBS.items():
        wait_stored(site, allowed[file], logs)
    for job_id in forbidden.values():
        assert_nothing_arrived(site, job_id)
        assert "worked through round 1" in log_of(site, job_id)


def test_the_second_lock_alone_by_the_word(site: Federation, tmp_path: Path) -> None:
    streaming = submit(site, tmp_path, "not-told", DECLARED)
    silent = submit(site, tmp_path, "told-forbidden", DECLARED)

    wait_stored(site, streaming, ("log.txt", "log.json", "log_fl.txt"))
    assert_nothing_arrived(site, silent)
    assert log_of(site, silent).count(SILENCED) == 3
    assert SILENCED not in log_of(site, streaming)


def test_what_makes_the_process_forget_the_argument_streams_nothing(site: Federation, tmp_path: Path) -> None:
    text = json.dumps(FORGETS)
    forgotten = submit(site, tmp_path, "told-forgets", text)
    remembered = submit(site, tmp_path, "told-remembers", text)
    decided = judge(text, FORBIDDEN, Streamer(), format_of("config_fed_client.json"))

    wait_stored(site, forgotten, ("log.txt",))  # the argument alone does not hold
    assert_nothing_arrived(site, remembered)
    assert log_of(site, remembered).count(SILENCED) == 1
    assert decided.decision in (Decision.STRIPPED, Decision.REFUSED)
    if decided.text is not None:
        assert_nothing_arrived(site, submit(site, tmp_path, "first-lock-alone", decided.text))


def test_the_third_lock_alone_by_the_site_s_resources(site: Federation, tmp_path: Path) -> None:
    resources = site.workspace(SITE) / "local" / "resources.json"
    key = "resources.json"
    stored = ConfigMap("fl", f"nvflare-local-{SITE}", binary_data={key: resources.read_bytes()})
    policy = Policy("fl", "site", log_streaming=FORBIDDEN)

    off = decide(stored, effective((policy,), {}))
    assert off.decision is Decision.SWITCHED_OFF
    resources.write_text(off.texts[key])
    restart(site)
    silent = submit(site, tmp_path, "switched-off", DECLARED)
    assert_nothing_arrived(site, silent)
    assert log_of(site, silent).count(SILENCED) == 3

    stored = replace(
        stored,
        binary_data={key: off.texts[key].encode()},
        provenance={**off.labels, **off.annotations},
        labels=off.labels,
    )
    on = decide(stored, effective((replace(policy, log_streaming=ALLOWED),), {}))
    assert on.decision is Decision.SWITCHED_ON
    resources.write_text(on.texts[key])
    restart(site)
    wait_stored(site, submit(site, tmp_path, "switched-on", DECLARED), ("log.txt", "log.json", "log_fl.txt"))
