import base64
import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from kubernetes import client, config

from support.control_plane.api import ApiError, Json
from support.control_plane.control_plane import CommandError, ControlPlane
from support.kubelet.container import PROGRAMS
from support.kubelet.kubelet import PlayedKubelet
from support.wait import wait_for

# --- pods played by hand ----------------------------------------------------------------------------------------------


def job_pod(control_plane: ControlPlane, namespace: str, *, sidecar: bool = False) -> None:
    spec: Json = {"restartPolicy": "Never", "containers": [{"name": "job", "image": "nvflare:2.9.0"}]}
    if sidecar:
        spec["initContainers"] = [{"name": "watcher", "image": "nvflare:2.9.0", "restartPolicy": "Always"}]
    control_plane.api.create(f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": "job"}, "spec": spec})


def pod(control_plane: ControlPlane, namespace: str, name: str) -> Any:
    return control_plane.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")


def test_kubectl_shows_a_log(control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str) -> None:
    job_pod(control_plane, namespace)
    kubelet.set_running(namespace, "job")
    kubelet.append_log(namespace, "job", "job", b"one\ntwo\n")

    assert control_plane.kubectl("logs", "--namespace", namespace, "job") == "one\ntwo\n"
    assert control_plane.kubectl("logs", "--namespace", namespace, "job", "--tail=1") == "two\n"
    assert control_plane.kubectl("logs", "--namespace", namespace, "job", "--limit-bytes=2") == "on"


def test_a_log_is_followed_until_its_container_ends(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    job_pod(control_plane, namespace)
    kubelet.set_running(namespace, "job")
    kubelet.append_log(namespace, "job", None, b"one\n")

    with config.new_client_from_config(str(control_plane.kubeconfig)) as connection:
        api = client.CoreV1Api(connection)
        log = api.read_namespaced_pod_log("job", namespace, follow=True, _preload_content=False)
        lines = iter(log)
        first = next(lines)
        kubelet.append_log(namespace, "job", None, b"two\n")
        second = next(lines)
        kubelet.terminate(namespace, "job", exit_code=0)
        rest = list(lines)
        log.close()

    assert (first, second, rest) == (b"one\n", b"two\n", [])


def test_a_waiting_container_has_no_log_and_a_deleted_pod_none_any_more(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    job_pod(control_plane, namespace)
    kubelet.set_waiting(namespace, "job", "ErrImagePull", "no such host")
    log = f"/api/v1/namespaces/{namespace}/pods/job/log"
    with pytest.raises(ApiError, match="waiting to start") as waiting:
        control_plane.api.text(log)
    kubelet.set_running(namespace, "job")
    kubelet.append_log(namespace, "job", "job", b"here\n")
    before = control_plane.api.text(log)
    kubelet.delete(namespace, "job", grace=0)
    with pytest.raises(ApiError) as gone:
        control_plane.api.text(log)

    assert (waiting.value.status, before, gone.value.status) == (400, "here\n", 404)


def seen(pod: Json) -> tuple[Any, ...]:
    """What of a pod's status the recordings of real runs are compared by."""
    status = pod["status"]
    conditions = {entry["type"]: (entry["status"], entry.get("reason")) for entry in status["conditions"]}
    state = status["containerStatuses"][0]["state"]
    ended = state.get("terminated", {})
    return (
        status["phase"],
        next(iter(state)),
        (ended.get("exitCode"), ended.get("reason")),
        conditions.get("PodReadyToStartContainers"),
        conditions.get("Initialized"),
        conditions.get("Ready"),
    )


def test_an_oom_kill_looks_as_recorded_from_a_real_node(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    job_pod(control_plane, namespace)
    version = pod(control_plane, namespace, "job")["metadata"]["resourceVersion"]
    kubelet.bind(namespace, "job")
    kubelet.set_running(namespace, "job")
    kubelet.terminate(namespace, "job", exit_code=137, reason="OOMKilled")

    steps = []
    for event in control_plane.api.watch(f"/api/v1/namespaces/{namespace}/pods", resourceVersion=version):
        if "containerStatuses" in event["object"]["status"]:
            steps.append(seen(event["object"]))
        if event["object"]["status"]["phase"] == "Failed":
            break

    true, none, oom = ("True", None), (None, None), (137, "OOMKilled")
    no_sandbox, failed = ("False", "PodSandboxNotReady"), ("False", "PodFailed")
    assert steps == [
        ("Pending", "waiting", none, no_sandbox, true, ("False", "ContainersNotReady")),
        ("Running", "running", none, true, true, true),
        ("Running", "terminated", oom, true, true, failed),
        ("Failed", "terminated", oom, no_sandbox, true, failed),
    ]


def test_a_sidecar_ends_after_the_job_and_before_the_phase(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    job_pod(control_plane, namespace, sidecar=True)
    kubelet.set_running(namespace, "job")
    version = pod(control_plane, namespace, "job")["metadata"]["resourceVersion"]
    kubelet.terminate(namespace, "job", exit_code=1)

    steps = []
    for event in control_plane.api.watch(f"/api/v1/namespaces/{namespace}/pods", resourceVersion=version):
        status = event["object"]["status"]
        sidecar = next(iter(status["initContainerStatuses"][0]["state"]))
        steps.append((status["phase"], sidecar, seen(event["object"])[5]))
        if status["phase"] == "Failed":
            break

    assert steps == [
        ("Running", "running", ("False", "ContainersNotReady")),
        ("Running", "terminated", ("False", "PodFailed")),
        ("Failed", "terminated", ("False", "PodFailed")),
    ]


def test_an_evicted_pod_says_why(control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str) -> None:
    job_pod(control_plane, namespace)
    kubelet.set_running(namespace, "job")
    kubelet.evict(namespace, "job", "The node was low on resource: memory.")

    status = pod(control_plane, namespace, "job")["status"]
    events = control_plane.kubectl("get", "events", "--namespace", namespace, "--output=name")

    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert status["message"] == "The node was low on resource: memory."
    assert {"type": "DisruptionTarget", "reason": "TerminationByKubelet"}.items() <= status["conditions"][-1].items()
    assert "event/job." in events


def test_a_graceful_deletion_is_carried_out(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    job_pod(control_plane, namespace)
    kubelet.set_running(namespace, "job")

    kubelet.delete(namespace, "job", grace=30)

    wait_for(
        lambda: not control_plane.exists(f"/api/v1/namespaces/{namespace}/pods/job"),
        deadline=60,
        what="the deleted pod to be gone",
    )


# --- Sitelog's own pods -----------------------------------------------------------------------------------------------

SERVE = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/ready", "/pod") else 404)
        self.end_headers()
        self.wfile.write(os.environ["POD"].encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""


def script_pod(script: str, *arguments: str, **more: Any) -> Json:
    container = {"name": "main", "image": "sitelog:test", "command": ["python", "-c", script, *arguments], **more}
    return {"containers": [container], "terminationGracePeriodSeconds": 5}


def test_a_deployment_runs_behind_its_service(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    """Two replicas with the same port on one host: each gets one of its own, the Service leads to both."""
    labels = {"app.kubernetes.io/name": "sitelog", "part": "server"}
    template = script_pod(
        SERVE,
        "28443",
        ports=[{"name": "http", "containerPort": 28443}],
        readinessProbe={"httpGet": {"path": "/ready", "port": "http"}},
        env=[{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    )
    url = f"http://127.0.0.1:{kubelet.expose(namespace, 'server', 80)}/pod"
    control_plane.api.create(
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        {
            "metadata": {"name": "server"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template},
            },
        },
    )
    service = {"selector": {"part": "server"}, "ports": [{"port": 80, "targetPort": "http"}]}
    control_plane.api.create(
        f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": "server"}, "spec": service}
    )
    control_plane.kubectl("rollout", "status", "deployment/server", "--namespace", namespace, "--timeout=90s")
    pods = set(control_plane.kubectl("get", "pods", "--namespace", namespace, "--output=name").split())
    answered: set[str] = set()

    def both_answered() -> bool:
        with urllib.request.urlopen(url, timeout=5) as answer:
            answered.add(f"pod/{answer.read().decode()}")
        return answered == pods

    wait_for(both_answered, deadline=60, what=f"an answer from each of {pods}")

    control_plane.kubectl("scale", "deployment/server", "--replicas=0", "--namespace", namespace)
    control_plane.kubectl(
        "wait", "pod", "--selector=part=server", "--for=delete", "--namespace", namespace, "--timeout=90s"
    )
    with pytest.raises((urllib.error.URLError, OSError)):
        urllib.request.urlopen(url, timeout=5)


UPLOAD = """
import pathlib, sys, time
kit, result = map(pathlib.Path, sys.argv[1:])
print("looking for the kit", flush=True)
while not (kit / "client.key").exists():
    time.sleep(0.05)
result.write_text("found " + (kit / "client.key").read_text())
sys.exit(int((kit / "exit").read_text()))
"""


def upload_job(control_plane: ControlPlane, namespace: str, spec: Json) -> None:
    template = {"metadata": {"labels": {"sitelog.dev/upload": "true"}}, "spec": {"restartPolicy": "Never", **spec}}
    control_plane.api.create(
        f"/apis/batch/v1/namespaces/{namespace}/jobs",
        {"metadata": {"name": "upload"}, "spec": {"backoffLimit": 0, "template": template}},
    )


def secret(control_plane: ControlPlane, namespace: str, name: str, **data: str) -> None:
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    control_plane.api.create(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}, "data": encoded})


def the_pod(control_plane: ControlPlane, namespace: str) -> Any:
    items = control_plane.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return items[0] if items else None


def kit_pod(script: str, *, optional: bool) -> Json:
    return {
        **script_pod(script, "/kit", "/dev/termination-log", volumeMounts=[{"name": "kit", "mountPath": "/kit"}]),
        "volumes": [{"name": "kit", "secret": {"secretName": "courier", "optional": optional}}],
        "automountServiceAccountToken": False,
    }


def test_an_optional_secret_may_come_later_and_the_result_comes_back(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    upload_job(control_plane, namespace, kit_pod(UPLOAD, optional=True))
    wait_for(
        lambda: "looking" in control_plane.kubectl("logs", "--namespace", namespace, "job/upload", check=False),
        deadline=60,
        what="the upload pod to look for its kit",
    )
    secret(control_plane, namespace, "courier", client_key="a key", exit="3")
    control_plane.kubectl("wait", "job/upload", "--for=condition=Failed", "--namespace", namespace, "--timeout=90s")

    status = the_pod(control_plane, namespace)["status"]
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (status["phase"], ended["exitCode"], ended["message"]) == ("Failed", 3, "found a key")


def test_a_missing_secret_keeps_a_pod_pending_and_says_so(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    upload_job(control_plane, namespace, kit_pod(UPLOAD, optional=False))

    def failed_mount() -> list[str]:
        events = control_plane.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        return [event["message"] for event in events if event["reason"] == "FailedMount"]

    messages = wait_for(failed_mount, deadline=60, what="a FailedMount Event")
    phase = the_pod(control_plane, namespace)["status"]["phase"]
    secret(control_plane, namespace, "courier", client_key="a key", exit="0")
    control_plane.kubectl("wait", "job/upload", "--for=condition=Complete", "--namespace", namespace, "--timeout=90s")

    assert messages == ['MountVolume.SetUp failed for volume "kit" : secret "courier" not found']
    assert phase == "Pending"


def test_the_image_s_program_is_found_below_a_mounted_folder_too(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    """As in a checkout below /tmp, where the chart's pods mount an emptyDir."""
    mount = {"name": "tmp", "mountPath": str(PROGRAMS.parent)}
    container = {"name": "main", "image": "sitelog:test", "args": ["--help"], "volumeMounts": [mount]}
    upload_job(control_plane, namespace, {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]})
    control_plane.kubectl("wait", "job/upload", "--for=condition=Complete", "--namespace", namespace, "--timeout=90s")

    assert "Usage: sitelog" in control_plane.kubectl("logs", "--namespace", namespace, "job/upload")


WHO_AM_I = """
import os, pathlib, subprocess, sys
kubeconfig = os.environ.get("KUBECONFIG")
pathlib.Path(sys.argv[1]).write_text(kubeconfig and pathlib.Path(kubeconfig).read_text() or "none")
"""


@pytest.mark.parametrize("automount", [True, False])
def test_only_a_pod_with_a_token_gets_a_kubeconfig(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str, *, automount: bool
) -> None:
    spec = script_pod(WHO_AM_I, "/dev/termination-log") | {"automountServiceAccountToken": automount}
    upload_job(control_plane, namespace, spec)
    control_plane.kubectl("wait", "job/upload", "--for=condition=Complete", "--namespace", namespace, "--timeout=90s")

    message = the_pod(control_plane, namespace)["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    if automount:
        token = json.loads(message)["users"][0]["user"]["token"]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        answer = control_plane.api.create("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
        assert answer["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    else:
        assert message == "none"


def test_a_container_that_ends_is_started_again(
    control_plane: ControlPlane, kubelet: PlayedKubelet, namespace: str
) -> None:
    labels = {"app.kubernetes.io/name": "sitelog"}
    control_plane.api.create(
        f"/api/v1/namespaces/{namespace}/pods",
        {"metadata": {"name": "crashing", "labels": labels}, "spec": script_pod("raise SystemExit('no such policy')")},
    )

    def restarted() -> Any:
        statuses = pod(control_plane, namespace, "crashing")["status"].get("containerStatuses")
        return statuses[0] if statuses and statuses[0]["restartCount"] >= 2 else None

    status = wait_for(restarted, deadline=60, what="two restarts")
    log = control_plane.kubectl("logs", "--previous", "--namespace", namespace, "crashing")

    assert (status["lastState"]["terminated"]["exitCode"], log) == (1, "no such policy\n")


def test_the_node_outlives_an_absence_of_the_api_server() -> None:
    with ControlPlane() as control_plane, PlayedKubelet(control_plane) as kubelet:
        control_plane.stop_api_server()
        control_plane.start_api_server()
        job_pod(control_plane, "default")
        kubelet.set_running("default", "job")
        upload_job(control_plane, "default", script_pod("print('done')"))
        control_plane.kubectl("wait", "job/upload", "--for=condition=Complete", "--timeout=90s")

        with pytest.raises(CommandError, match="not found"):
            control_plane.kubectl("logs", "missing")
        assert control_plane.kubectl("logs", "job/upload") == "done\n"
