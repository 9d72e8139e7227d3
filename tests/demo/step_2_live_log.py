"""Step 2: a real job, and its log on the FL server while it runs."""

from demo.world import JSON, World, streamers
from support.federation.federation import SITE
from support.federation.jobs import write_job
from support.wait import wait_for

ROUNDS = 3
LINE = "worked through round"
RECEIVED = f"$FL/staging/$JOB/{SITE}/log.txt"
STORED = f"LOG_log.txt_{SITE}"


def show(world: World) -> str:
    """Run a job that asks for nothing; give its id."""
    tell, federation = world.narrator, world.federation
    tell.heading("2. A real job: its log arrives at the FL server while the job runs")
    tell.say(
        f"The job takes {ROUNDS} rounds and declares no log streamer. The FL server sends it to {SITE}; the "
        "gate in the site's client publishes its configuration as a ConfigMap, and the job runs with the answer."
    )
    job_id = world.submit(write_job(world.directory, "live", rounds=ROUNDS, seconds_per_round=0.5))
    wait_for(lambda: f"job {job_id} at {SITE}: " in federation.log(SITE), 60, "the gate to answer about the job")
    tell.type("kubectl get cm -l sitelog.dev/job=$JOB -L sitelog.dev/client,sitelog.dev/decision")
    on_disk = world.deployed_configuration(job_id).read_text()
    tell.check(
        "the configuration on the site's disk is the one in the API, with the log streamer",
        holds=streamers(on_disk) == ["auto_log_streamer"] and world.published(job_id)["data"] == {JSON: on_disk},
        seen=on_disk,
    )

    tell.say("The file into which the FL server receives the log, at two moments:")
    first = _look(world, job_id, 1)
    second = _look(world, job_id, 2)
    tell.check(
        f"the log arrives while the job runs: {first} bytes, then {second}, and nothing is stored yet",
        holds=0 < first < second and federation.status(job_id) == "RUNNING" and federation.stored(job_id) == {},
        seen=(first, second, federation.status(job_id), list(federation.stored(job_id))),
    )

    status = federation.wait(job_id)
    wait_for(lambda: STORED in federation.stored(job_id), 60, f"the FL server to store {STORED}")
    tell.progress(f"the job has ended: {status}")
    tell.type("ls $FL/jobs-storage/$JOB")
    tell.type(f"grep -c '{LINE}' $FL/jobs-storage/$JOB/{STORED}")
    stored = federation.stored(job_id)[STORED].decode()
    of_the_site = (federation.workspace(SITE) / job_id / "log.txt").read_text()
    tell.check("the job has completed", holds=status == "FINISHED:COMPLETED", seen=status)
    tell.check(
        f"the FL server has stored the log under the job, with all {ROUNDS} rounds, as the site has it",
        holds=stored.count(LINE) == ROUNDS and of_the_site.startswith(stored),
        seen=stored,
    )
    return job_id


def _look(world: World, job_id: str, rounds: int) -> int:
    """Show the received file once so many rounds have arrived; give its size."""
    file = world.federation.staging / job_id / SITE / "log.txt"
    wait_for(
        lambda: file.exists() and file.read_text(errors="replace").count(LINE) >= rounds,
        30,
        f"{rounds} rounds in the log that the FL server receives",
    )
    size = int(world.narrator.type(f"wc -c < {RECEIVED}"))
    world.narrator.type(f"grep -o '{LINE}.*' {RECEIVED} | tail -n 1")
    return size
