"""Sitelog as a user installs it: the chart by helm, its pods run by the played kubelet."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sitelog.core.names import (
    ANNOTATION_LOG_STREAMING,
    ANNOTATION_POLICY,
    ANNOTATION_POLICY_GENERATION,
    CONDITION_READY,
    GROUP,
    KIND,
    VERSION,
)
from support.control_plane.api import ApiError, Json
from support.control_plane.control_plane import ControlPlane
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.enforced import goes_by
from support.wait import wait_for

NAMESPACE = "sitelog-system"
CHART = Path(__file__).parents[3] / "charts" / "sitelog"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sitelogpolicies.sitelog.dev"


class Installation:
    """Context manager: one release of the chart, ready; uninstalled at the end."""

    def __init__(self, control_plane: ControlPlane, kubelet: PlayedKubelet, **values: Any) -> None:
        self.control_plane = control_plane
        self.kubelet = kubelet
        self._values = values

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.control_plane.helm("uninstall", "sitelog", f"--namespace={NAMESPACE}", "--wait", "--ignore-not-found")

    def install(self) -> None:
        """Install the release and wait until it is ready."""
        port = self.kubelet.expose(NAMESPACE, "sitelog-webhook", 443)
        values = {
            "crds.enabled": not self.control_plane.exists(CRD),
            "webhook.url": f"https://127.0.0.1:{port}",
            "controller.sweepInterval": "1s",
            "controller.replicas": 1,  # which does all that two do, in half of the processors' time
            "controller.maxUploads": 4,
            **self._values,
        }
        settings = [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]
        here = f"--namespace={NAMESPACE}"
        self.control_plane.helm("install", "sitelog", str(CHART), here, "--create-namespace", *settings)
        for deployment in ("sitelog-controller", "sitelog-webhook"):
            self.control_plane.kubectl("rollout", "status", f"deployment/{deployment}", here, "--timeout=90s")

    # --- what tests do with it ----------------------------------------------------------------------------------------

    def policy(self, namespace: str, name: str = "site", **spec: Any) -> None:
        """Apply a policy, Allowed if `spec` does not say otherwise, and wait until the webhook's pods know it."""
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"logStreaming": "Allowed", **spec},
        }
        self.control_plane.api.apply(_policy_path(namespace, name), body)
        self.wait_in_force(namespace, name)

    def wait_in_force(self, namespace: str, name: str = "site") -> None:
        """Wait until the controller and the webhook's pods know a policy as it is now."""
        policy = self._policy(namespace, name)
        wait_for(
            lambda: (
                self._observed(namespace, name) >= policy["metadata"]["generation"]
                and goes_by(self._policy(namespace, name))
                and self._webhooks_know(policy)
            ),
            deadline=60,
            what=f"SiteLogPolicy {namespace}/{name} is in force",
        )

    def status(self, namespace: str, name: str = "site") -> Json:
        """The status of a policy."""
        return self._policy(namespace, name).get("status", {})

    def ready(self, namespace: str, name: str = "site") -> Json:
        """The condition Ready of a policy."""
        (ready,) = (each for each in self.status(namespace, name)["conditions"] if each["type"] == CONDITION_READY)
        return dict(ready)

    def pods(self, component: str) -> list[Json]:
        """The pods of the webhook or the controller."""
        selector = f"app.kubernetes.io/component={component}"
        return list(self.control_plane.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=selector)["items"])

    def logs(self, component: str) -> str:
        """What the pods of a component logged."""
        here = f"--namespace={NAMESPACE}"
        return "".join(
            self.control_plane.kubectl("logs", pod["metadata"]["name"], here) for pod in self.pods(component)
        )

    def metrics(self, component: str) -> str:
        """The metrics of a component's pods, one after the other."""
        return "\n".join(self._ask(pod, "/metrics") for pod in self.pods(component))

    @contextmanager
    def without_webhook(self) -> Iterator[None]:
        """Let no webhook pod run meanwhile."""
        scale = ("scale", "deployment", "sitelog-webhook", f"--namespace={NAMESPACE}")
        self.control_plane.kubectl(*scale, "--replicas=0")
        wait_for(lambda: not self.pods("webhook"), 60, "the webhook's pods to go")
        try:
            yield
        finally:
            self.control_plane.kubectl(*scale, "--replicas=2")
            status = ("rollout", "status", "deployment/sitelog-webhook", f"--namespace={NAMESPACE}", "--timeout=90s")
            self.control_plane.kubectl(*status)

    def _policy(self, namespace: str, name: str) -> Json:
        return self.control_plane.api.get(_policy_path(namespace, name))

    def _observed(self, namespace: str, name: str) -> int:
        return int(self.status(namespace, name).get("observedGeneration") or 0)

    def _webhooks_know(self, policy: Json) -> bool:
        """Whether a dry run is answered under this policy, or one that goes before it, several times over."""
        metadata, spec = policy["metadata"], policy["spec"]
        if spec["mode"] == "DryRun" or spec.get("selector"):
            return True
        # The webhook never sees the release's own namespace, whose policies apply to every other one.
        governed = self._values.get("namespaces") or ["default"]
        namespace = governed[0] if metadata["namespace"] == NAMESPACE else metadata["namespace"]
        probe = configmap(namespace, "probe", "{}")
        path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
        for _ in range(4):
            try:
                stamp = self.control_plane.api.create(path, probe)["metadata"].get("annotations", {})
            except ApiError as error:
                if "prohibits log streaming" in str(error):
                    return False  # the API server has heard of the policy before one of the webhook's pods
                raise
            if stamp.get(ANNOTATION_POLICY) == f"{metadata['namespace']}/{metadata['name']}":
                if stamp[ANNOTATION_POLICY_GENERATION] != str(metadata["generation"]):
                    return False
            elif stamp.get(ANNOTATION_LOG_STREAMING) not in _AT_LEAST[spec["logStreaming"]]:
                return False
        return True

    def _ask(self, pod: Json, target: str) -> str:
        metadata = pod["metadata"]
        port = self.kubelet.local_port(metadata["namespace"], metadata["name"], "health")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=10) as answer:
            return answer.read().decode()


# What decides about an object of a policy's namespace, be it that policy or a stricter one.
_AT_LEAST = {
    "Allowed": {"Allowed", "ErrorLogOnly", "Forbidden"},
    "ErrorLogOnly": {"ErrorLogOnly", "Forbidden"},
    "Forbidden": {"Forbidden"},
}


def _policy_path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/sitelogpolicies/{name}"


def configmap(namespace: str, name: str, config: object, **more: Any) -> Json:
    """A job's ConfigMap; `config` is the configuration's text, or a value to write as JSON."""
    text = config if isinstance(config, str) else json.dumps(config)
    metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"config_fed_client.json": text},
        **more,
    }
