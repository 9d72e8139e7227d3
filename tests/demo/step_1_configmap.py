"""Step 1: what the policy does with a job's configuration."""

from demo.world import JSON, NAMESPACE, POLICY, World, streamers

FILE = f"tests/demo/manifests/{JSON}"
READ = r"""kubectl get cm job-42 -o jsonpath='{.data.config_fed_client\.json}{"\n"}'"""


def show(world: World) -> None:
    """Create a job's ConfigMap under a policy that allows log streaming."""
    tell = world.narrator
    tell.heading("1. A job's ConfigMap, where the site allows log streaming")
    tell.say("The site says what it wants, once, in its own namespace:")
    tell.type("cat tests/demo/manifests/policy.yaml")
    tell.type("kubectl apply -f tests/demo/manifests/policy.yaml")
    tell.type(f"kubectl wait --for=condition=Ready slp/{POLICY}")
    world.installation.wait_in_force(NAMESPACE, POLICY)

    tell.say("A job's configuration before. It has no log streamer:")
    before = tell.type(f"cat {FILE}")
    tell.check("the configuration that is submitted names no log streamer", holds=streamers(before) == [])
    tell.type(f"kubectl create configmap job-42 --from-file={FILE}")

    tell.say("And after: what the API server keeps differs by the streamer that Sitelog has put in.")
    tell.type(f"{READ} | \\\n  diff -u {FILE} -", fails=True)
    configmap = world.configmap("job-42")
    labels, after = configmap["metadata"].get("labels", {}), configmap["data"][JSON]
    tell.check(
        "the stored configuration has exactly one log streamer, auto_log_streamer",
        holds=streamers(after) == ["auto_log_streamer"],
        seen=after,
    )
    tell.check(
        "the ConfigMap is labelled with the decision, Injected",
        holds=labels.get("sitelog.dev/decision") == "Injected",
        seen=labels,
    )

    world.wait_for_counts(injected=1)
    listed = tell.type("kubectl get slp -A")
    tell.check("the policy is ready", holds=_ready(listed), seen=listed)
    tell.type("kubectl get cm -l sitelog.dev/managed -L sitelog.dev/decision")


def _ready(listed: str) -> bool:
    return any(line.startswith(NAMESPACE) and "True" in line.split() for line in listed.splitlines())
