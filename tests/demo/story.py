"""The demo's steps, in their order."""

from demo import step_1_configmap, step_2_live_log, step_3_forbidden, step_4_declared, step_5_oom
from demo.world import NAMESPACE, World
from support.federation.federation import SITE
from support.wait import wait_for


def tell_story(world: World) -> None:
    """Show everything.

    Raises
    ------
    demo.narrator.ClaimError
        Something is not as it should be.
    """
    try:
        _open(world)
        step_1_configmap.show(world)
        job_id = step_2_live_log.show(world)
        step_3_forbidden.show(world, job_id)
        step_4_declared.show(world)
        step_5_oom.show(world)
    finally:
        world.federation.stop_site()
        world.control_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false", check=False)


def _open(world: World) -> None:
    """Set the stage: a shell with kubectl, a namespace for the site, and the site's FL client."""
    tell = world.narrator
    kubeconfig = world.directory / "kubeconfig"
    kubeconfig.write_bytes(world.control_plane.kubeconfig.read_bytes())
    kubeconfig.chmod(0o600)
    tell.enter(world.control_plane.environment(kubeconfig))
    tell.heading("What runs here")
    tell.say(
        "A real etcd, kube-apiserver and kube-controller-manager; Sitelog, installed by helm; a real FL server of "
        "NVIDIA FLARE and a site, talking mTLS on loopback. No nodes: the demo plays a kubelet, and runs Sitelog's own "
        "pods as processes."
    )
    tell.type("helm list -n sitelog-system | cut -f 1,2,5,6")
    pods = tell.type("kubectl get pods -n sitelog-system")
    made = pods.splitlines()[1:]
    running = [line.split("-")[1] for line in made if " 1/1 " in line and " Running " in line]
    tell.check(
        "all pods of the controller and the webhook run",
        holds=set(running) == {"controller", "webhook"} and len(running) == len(made),
        seen=running,
    )
    tell.let("FL", str(world.federation.directory))
    tell.let("TMP", str(world.directory))

    tell.say("A namespace for the site, in which its FL client may create, get and update ConfigMaps, and no more:")
    tell.type("kubectl apply -f tests/demo/manifests/site.yaml")
    tell.type(f"kubectl config set-context --current --namespace={NAMESPACE}")
    tell.type(f"kubectl describe role {SITE} | tail -n 3")
    tell.type(f"kubectl auth can-i list configmaps --as=system:serviceaccount:{NAMESPACE}:{SITE}", fails=True)
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    wait_for(lambda: world.control_plane.exists(account), 60, f"the default service account of {NAMESPACE}")
    tell.progress(f"starting {SITE} through the gate: python -m sitelog.gate, as this ServiceAccount")
    world.start_site()
