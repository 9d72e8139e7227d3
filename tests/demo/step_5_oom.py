"""Step 5: a job pod that is killed, and its error log."""

import json
import time
from typing import Any

from demo.world import NAMESPACE, POLICY, World, kubernetes_launcher
from support.federation.federation import MEMBER, SITE
from support.federation.jobs import client_config, write_job
from support.wait import wait_for

LAUNCHER_SPEC = {SITE: {"k8s": {"image": "registry.hospital-a.example/fl-job:1.0", "memory": "384Mi"}}}
COMPLAINT = "batch 17 takes 371 of 384 MiB"
HOLD = 120.0  # seconds for which the job would go on, if it were not killed
ERROR_LOG = f"ERRORLOG_{SITE}"
END = r"""kubectl get pod $POD -o custom-columns="PHASE:.status.phase,\
ENDED:.status.containerStatuses[0].state.terminated.reason,\
ERROR LOG:.metadata.annotations.sitelog\.dev/error-log" """.rstrip()


def show(world: World) -> None:
    """Let NVFlare's Kubernetes launcher make a job pod, kill it, and find its error log at the FL server."""
    tell = world.narrator
    tell.heading("5. A job pod that runs out of memory: its error log reaches the FL server")
    _allow_uploads(world)
    with kubernetes_launcher(world):
        tell.progress(f"starting {SITE} anew, with NVFlare's Kubernetes launcher in the place of its process launcher")
        world.start_site()
        configuration = json.dumps(client_config(seconds_per_round=HOLD, error=COMPLAINT), indent=2)
        meta = {"launcher_spec": LAUNCHER_SPEC}
        job_id = world.submit(write_job(world.directory, "hungry", client_config_text=configuration, meta=meta))
        pod = _pod(world)
        _run_out_of_memory(world, pod)
        _uploaded(world, pod)
        _printed(world, job_id)


def _allow_uploads(world: World) -> None:
    tell, kit = world.narrator, world.federation.kit(MEMBER)
    tell.say(
        "The site allows log streaming again, and the upload of error logs: by a courier, a participant of the "
        "federation that was provisioned for nothing else, and that may look at what the FL server has stored. Its "
        "startup kit goes into a Secret. On a node a sidecar would copy the error log itself; none runs here, so it is "
        "taken from the output of the job's container."
    )
    world.narrator.let("KIT", str(kit))
    tell.type("kubectl create secret generic site-1-courier --from-file=$KIT")
    tell.type(
        f"""kubectl patch slp {POLICY} --type=merge -p '{{"spec": {{"logStreaming": "Allowed",\n"""
        """  "errorLog": {"upload": "Enabled", "courierSecretName": "site-1-courier",\n"""
        """    "capture": "ContainerLog"}}}'"""
    )
    world.installation.wait_in_force(NAMESPACE, POLICY)


def _pod(world: World) -> dict[str, Any]:
    """Wait for the launcher's pod, and look at it."""
    tell, api = world.narrator, world.control_plane.api
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    (pod,) = wait_for(lambda: api.get(path, labelSelector="sitelog.dev/job")["items"], 60, "the launcher's job pod")
    tell.let("POD", pod["metadata"]["name"])
    tell.type("kubectl get pod $POD")
    tell.type("""kubectl get pod $POD -o jsonpath='{.spec.containers[0].args[0:3]}{"\\n"}'""")
    tell.say("The webhook has labelled it with the job and the client, which it has read from the command line:")
    tell.type("""kubectl get pod $POD -o jsonpath='{.metadata.labels}{"\\n"}'""")
    found: dict[str, Any] = pod
    return found


def _run_out_of_memory(world: World, pod: dict[str, Any]) -> None:
    """Play the kubelet: run the pod's command, kill it, report what a kubelet reports."""
    tell, name = world.narrator, pod["metadata"]["name"]
    tell.say(
        "No kubelet runs here: the demo plays it, for this pod and for the upload Job. It runs the container's command "
        "as a process of this machine. Once the job has complained, it kills the process as a kernel short of memory "
        "would, and reports OOMKilled as a kubelet does."
    )
    container = world.kubelet.run_process(NAMESPACE, name)
    tell.progress("the pod runs")
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/log"
    try:
        wait_for(lambda: COMPLAINT in world.control_plane.api.text(path), 60, "the job's complaint in the pod's log")
    except TimeoutError:
        tell.type("kubectl logs $POD | tail -n 20")
        raise
    finally:
        container.stop(deadline=time.monotonic())
    world.kubelet.terminate(NAMESPACE, name, exit_code=137, reason="OOMKilled")
    tell.progress("the pod is killed")
    tell.type(END)
    tell.type("kubectl logs $POD | tail -n 1")


def _uploaded(world: World, pod: dict[str, Any]) -> None:
    """Wait for the upload, and look at all places that tell of it."""
    tell, api = world.narrator, world.control_plane.api
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
    wait_for(
        lambda: "sitelog.dev/error-log" in api.get(path)["metadata"]["annotations"],
        60,
        "the error log's fate on the pod",
    )
    wait_for(
        lambda: world.installation.status(NAMESPACE, POLICY).get("uploads", {}).get("uploaded") == 1,
        30,
        "the policy's status to count the upload",
    )
    shown = tell.type(END)
    jobs = tell.type(
        "kubectl get jobs -l sitelog.dev/upload \\\n"
        "  -o custom-columns='UPLOAD JOB:.metadata.name,SUCCEEDED:.status.succeeded'"
    )
    events = tell.type(
        "kubectl get events --field-selector involvedObject.name=$POD \\\n"
        "  -o custom-columns=REASON:.reason,MESSAGE:.message"
    )
    tell.type("kubectl get slp -A")
    tell.check("the pod tells that its error log is uploaded", holds="OOMKilled" in shown and "Uploaded" in shown)
    tell.check("the upload Job has succeeded", holds=jobs.split()[-1] == "1", seen=jobs)
    tell.check("an Event tells it as well, and that the FL server has stored it", holds="ErrorLogUploaded " in events)


def _printed(world: World, job_id: str) -> None:
    """Print the error log back from the FL server, and compare it with what the job wrote."""
    tell, federation = world.narrator, world.federation
    tell.say("And back from the FL server's job store:")
    tell.type("ls $FL/jobs-storage/$JOB")
    printed = tell.type(f"cat $FL/jobs-storage/$JOB/{ERROR_LOG}")
    said, end = printed.splitlines()[0], printed.splitlines()[-1]
    tell.check(
        f"{ERROR_LOG} is stored under the job, and begins with what the job complained of",
        holds=ERROR_LOG in federation.stored(job_id) and " - ERROR - " in said and said.endswith(COMPLAINT),
        seen=printed,
    )
    tell.check(
        "its last record, Sitelog's, tells how the pod ended", holds="OOMKilled" in end and "137" in end, seen=end
    )
    status = federation.wait(job_id)
    tell.progress(f"the job has ended: {status}")
    tell.check("the FL job did not complete", holds=status != "FINISHED:COMPLETED", seen=status)
