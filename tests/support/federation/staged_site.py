"""What NVFlare's own `deploy` tools make of a provisioned participant's kit: its Helm chart, its staged local/."""

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from nvflare.tool.deploy import k8s_stage
from nvflare.tool.deploy.deploy_commands import prepare_deployment


def staged_local(kit: Path, directory: Path, namespace: str) -> dict[str, Any]:
    """Prepare and stage a provisioned kit; return the ConfigMap that kubectl would be given.

    Parameters
    ----------
    kit : as `nvflare provision` made it.
    directory : a fresh folder for what the tools write.
    """
    prepared = prepared_kit(kit, directory, namespace)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(k8s_stage, "_kubectl_apply") as apply,  # no cluster: what it would apply is caught
    ):
        k8s_stage.stage_k8_deployment(argparse.Namespace(kit=str(prepared), namespace=namespace))
    manifests: list[dict[str, Any]] = [call.args[0] for call in apply.call_args_list]
    return next(manifest for manifest in manifests if manifest["kind"] == "ConfigMap")


def prepared_kit(kit: Path, directory: Path, namespace: str) -> Path:
    """Prepare a provisioned kit for Kubernetes; return the folder with its `helm_chart`."""
    directory.mkdir()
    config, prepared = directory / "k8s.yaml", directory / "prepared"
    runtime = {"runtime": "k8s", "namespace": namespace, "parent": {"docker_image": "nvparent:1"}}
    config.write_text(yaml.safe_dump(runtime))
    with contextlib.redirect_stdout(io.StringIO()):
        prepare_deployment(argparse.Namespace(kit=str(kit), output=str(prepared), config=str(config)))
    return prepared
