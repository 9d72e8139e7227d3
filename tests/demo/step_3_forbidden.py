"""Step 3: the policy changes, and what is stored already changes with it."""

from typing import Any

from demo.step_1_configmap import READ
from demo.world import JSON, NAMESPACE, POLICY, World, streamers
from support.wait import wait_for


def show(world: World, job_id: str) -> None:
    """Forbid log streaming; the ConfigMaps of step 1 and of the job of step 2 lose their streamers."""
    tell = world.narrator
    tell.heading("3. The policy turns to Forbidden: what exists is cleaned")
    tell.type(f"{READ} > $TMP/before.json")
    tell.type(f"""kubectl patch slp {POLICY} --type=merge -p '{{"spec": {{"logStreaming": "Forbidden"}}}}'""")
    world.installation.wait_in_force(NAMESPACE, POLICY)
    wait_for(lambda: _decision(world.configmap("job-42")) == "Stripped", 60, "ConfigMap job-42 to be cleaned")

    tell.say("Nobody has touched the ConfigMap but the controller:")
    tell.type(f"{READ} | \\\n  diff -u $TMP/before.json -", fails=True)
    after = world.configmap("job-42")["data"][JSON]
    tell.check("no log streamer is left in the ConfigMap", holds="JobLogStreamer" not in after, seen=after)
    world.wait_for_counts(injected=0, stripped=2)
    tell.type("kubectl get cm -l sitelog.dev/managed -L sitelog.dev/decision")
    tell.type("kubectl get slp -A")
    published = world.published(job_id)
    tell.check(
        "the ConfigMap of the job that ran is cleaned too",
        holds=_decision(published) == "Stripped" and streamers(published["data"][JSON]) == [],
        seen=published,
    )


def _decision(configmap: dict[str, Any]) -> str:
    return str(configmap["metadata"].get("labels", {}).get("sitelog.dev/decision", ""))
