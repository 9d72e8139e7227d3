"""Step 4: a job that brings a log streamer along, where the site forbids it."""

from demo.step_2_live_log import LINE
from demo.world import STREAMER, World, streamers
from support.federation.federation import SITE
from support.federation.jobs import JOB_LOG_STREAMER, write_job


def show(world: World) -> None:
    """Run a job that declares the streamer itself: it loses it, completes, and streams nothing."""
    tell, federation = world.narrator, world.federation
    tell.heading("4. A job that declares the streamer itself, under Forbidden")
    folder = write_job(world.directory, "declaring", client_components=[JOB_LOG_STREAMER], rounds=1)
    tell.type("grep -A 4 JobLogStreamer $TMP/declaring/app/config/config_fed_client.json")
    job_id = world.submit(folder)
    status = federation.wait(job_id)
    tell.progress(f"the job has ended: {status}")

    tell.type("kubectl get cm -l sitelog.dev/job=$JOB -L sitelog.dev/client,sitelog.dev/decision")
    tell.say("The configuration with which the job has run, on the site's disk:")
    tell.type(f"cat $FL/provisioned/sitelog/prod_00/{SITE}/$JOB/app_{SITE}/config/config_fed_client.json")
    tell.say("What the FL server keeps of the job, and what it has received of its log:")
    tell.type("ls $FL/jobs-storage/$JOB $FL/staging")

    configuration = world.deployed_configuration(job_id).read_text()
    log = (federation.workspace(SITE) / job_id / "log.txt").read_text()
    tell.check("the job has completed", holds=status == "FINISHED:COMPLETED", seen=status)
    tell.check("it has worked through its round", holds=log.count(LINE) == 1, seen=log)
    tell.check(
        "the configuration on the site's disk has no log streamer",
        holds=streamers(configuration) == [] and STREAMER not in configuration,
        seen=configuration,
    )
    tell.check("no log streamer has started in the job", holds="live log streaming" not in log, seen=log)
    tell.check(
        "the FL server has stored no log of the job, and received none",
        holds=federation.stored(job_id) == {} and not (federation.staging / job_id).exists(),
        seen=list(federation.stored(job_id)),
    )
