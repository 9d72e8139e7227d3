"""A real site, started through the gate, between a real FL server and a real API server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.control_plane.control_plane import ControlPlane
from support.federation.federation import SITE, Federation
from support.federation.gate_site import published
from support.federation.jobs import client_config, write_job
from support.sitelog import gate_stand_in as where
from support.sitelog.gate_stand_in import StandIn
from support.wait import wait_for

UPLOADING = "Started completed error log upload"  # SiteLogStreamer's own line, in the client's parent


@pytest.fixture(scope="module")
def gated(federation: Federation, control_plane: ControlPlane, stand_in: StandIn) -> Iterator[Federation]:
    """The federation, with its site started through the gate."""
    environment = {"KUBECONFIG": str(control_plane.kubeconfig), "SITELOG_GATE_NAMESPACE": where.PER_JOB}
    federation.stop_site()
    federation.start_site("sitelog.gate", environment)
    yield federation
    federation.stop_site()
    federation.start_site()


def run(gated: Federation, directory: Path, name: str, says: str, *, fails: bool = False) -> tuple[str, str]:
    """Run a job about which the stand-in says `says`; give its id and its status."""
    text = json.dumps({**client_config(fails=fails), "stand_in": says}, indent=2)
    job_id = gated.submit(write_job(directory, name, client_config_text=text))
    return job_id, gated.wait(job_id)


def test_a_job_runs_through_the_gate(gated: Federation, control_plane: ControlPlane, tmp_path: Path) -> None:
    job_id, status = run(gated, tmp_path, "allowed", "Allowed")

    assert status == "FINISHED:COMPLETED"
    assert f"{SITE}: OK" in gated.deploy_detail(job_id)
    (configmap,) = [
        item
        for item in published(control_plane, where.PER_JOB)
        if item["metadata"]["labels"]["sitelog.dev/job"] == job_id
    ]
    assert configmap["metadata"]["labels"]["sitelog.dev/client"] == SITE
    assert json.loads(configmap["data"]["config_fed_client.json"])["stand_in"] == "Allowed"
    assert (
        f"SitelogGate - INFO - job {job_id} at {SITE}: Clean, reason NoStreamer, policy stand-in/hospital"
        in gated.log(SITE)
    )


def test_a_refused_job_does_not_run_and_its_submitter_reads_why(gated: Federation, tmp_path: Path) -> None:
    job_id, status = run(gated, tmp_path, "refused", "Refused")

    assert status == "FINISHED:FAILED_TO_RUN"
    (detail,) = [line for line in gated.deploy_detail(job_id) if line.startswith(f"{SITE}: ")]
    assert "Sitelog: refused by the site's log policy: " in detail
    assert where.REFUSAL in detail
    assert not (gated.workspace(SITE) / job_id).exists()


def test_the_parent_uploads_an_error_log_only_where_the_policy_allows(gated: Federation, tmp_path: Path) -> None:
    forbidden, _ = run(gated, tmp_path, "forbidden", "Forbidden", fails=True)
    allowed, _ = run(gated, tmp_path, "allowed", "Allowed", fails=True)

    wait_for(lambda: f"ERRORLOG_{SITE}" in gated.stored(allowed), 60, "the allowed job's error log")
    wait_for(lambda: f"{UPLOADING} for {SITE} job {allowed}" in gated.log(SITE), 60, "the parent's upload")
    assert f"{UPLOADING} for {SITE} job {forbidden}" not in gated.log(SITE)
    assert gated.stored(forbidden) == {}
    assert (gated.workspace(SITE) / forbidden / "error_log.txt").stat().st_size > 0
