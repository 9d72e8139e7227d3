"""Pods of a site's FL client as NVFlare's own Helm chart makes them."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from sitelog.core.names import GATE, GATE_FOLDER
from support.control_plane.api import Json
from support.control_plane.control_plane import ControlPlane
from support.federation.provisioning import SITE, provision
from support.federation.staged_site import prepared_kit
from support.wait import wait_for


def site_chart(directory: Path) -> Path:
    """Provision a site, and let NVFlare's tools make its chart."""
    kits = provision(directory, "localhost", fed_learn_port=8002)
    return prepared_kit(kits / SITE, directory / "chart", "fl") / "helm_chart"


def client_pod(control_plane: ControlPlane, chart: Path, name: str, **container: Any) -> Json:
    """Give a manifest of the pod that the chart's Deployment would make, under the account `fl-client`.

    `container`: fields of the client's container; None takes one away.
    """
    documents = yaml.safe_load_all(control_plane.helm("template", "site", str(chart)))
    template = next(each for each in documents if each and each["kind"] == "Deployment")["spec"]["template"]
    pod: Json = {"apiVersion": "v1", "kind": "Pod", **json.loads(json.dumps(template))}
    pod["metadata"]["name"] = name
    pod["spec"]["serviceAccountName"] = "fl-client"
    (client,) = pod["spec"]["containers"]
    for key, value in container.items():
        client.pop(key, None)
        if value is not None:
            client[key] = value
    return pod


def create_account(control_plane: ControlPlane, namespace: str) -> None:
    """Create the account of `client_pod`."""
    control_plane.kubectl("create", "serviceaccount", "fl-client", f"--namespace={namespace}")


def install_site(control_plane: ControlPlane, chart: Path, namespace: str) -> Json:
    """Install the chart as it is; give the client's pod."""
    control_plane.helm("upgrade", "--install", "site", str(chart), f"--namespace={namespace}")
    selector = f"app.kubernetes.io/name={SITE}"

    def pods() -> list[Json]:
        return list(control_plane.api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"])

    wait_for(lambda: len(pods()) == 1, 60, "the site's pod")
    return pods()[0]


def without_gate(pod: Json) -> Json:
    """Give a pod's spec and labels as they were before the gate came, as far as the gate's own parts can be told."""
    stored = re.sub("kube-api-access-[a-z0-9]+", "kube-api-access", json.dumps(pod))
    spec: Json = json.loads(stored)["spec"]
    for kind in ("volumes", "initContainers"):
        spec[kind] = [each for each in spec.get(kind, []) if each["name"] != GATE]
    for client in spec["containers"]:
        client["volumeMounts"] = [each for each in client["volumeMounts"] if each["name"] != GATE]
        env = client.pop("env", [])
        client["env"] = [each for each in env if not each["name"].startswith("SITELOG_GATE_")]
        for part in ("command", "args"):
            arguments = client.get(part, [])
            if GATE_FOLDER in arguments:
                where = arguments.index(GATE_FOLDER)
                arguments[where : where + 1] = ["-m", "nvflare.private.fed.app.client.client_train"]
    return spec
