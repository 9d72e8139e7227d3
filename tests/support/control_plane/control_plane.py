"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

No root, no containers, no nodes (support.kubelet plays one). Everything it starts ends with its starter, however that
ends.
"""

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from support.control_plane.api import Api, ApiError
from support.control_plane.binaries import tools_folder
from support.control_plane.keys import write_serving_pair, write_signing_key
from support.control_plane.process import Process, ProcessError, free_port
from support.wait import wait_for

START_DEADLINE = 60.0
COMMAND_DEADLINE = 180.0
ISSUER = "https://kubernetes.default.svc"
# Only what the chart, its pods and upload Jobs need. No node lifecycle: the played node has no heartbeat.
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
    "validatingadmissionpolicy-status-controller",
)


class CommandError(RuntimeError):
    """kubectl or helm failed; the message carries what it wrote."""


class ControlPlane:
    """Context manager around the three servers.

    Attributes
    ----------
    directory
        Everything it writes, logs included; removed at the end.
    url
        Address of the API server.
    authority
        Certificate file that the API server's certificate is checked against.
    kubeconfig
        Of an administrator (group system:masters).
    api
        The same identity for JSON requests.
    """

    def __init__(self) -> None:
        self.tools = tools_folder()
        self._stack = contextlib.ExitStack()
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sitelog-control-plane-")))
        self._etcd_port, self._api_port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._api_port}"
        self._serving = write_serving_pair(self.directory, "kube-apiserver")
        self._signing_key = write_signing_key(self.directory, "service-accounts")
        self.authority = self._serving.certificate
        token = secrets.token_urlsafe(24)
        (self.directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        self.kubeconfig = self._write_kubeconfig("admin", token)
        self.api = Api(self.url, self.authority, token)
        self._etcd: Process | None = None
        self._api_server: Process | None = None
        self._controller_manager: Process | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything in order and remove the directory."""
        self.api.close()
        for process in (self._controller_manager, self._api_server, self._etcd):
            if process is not None:
                process.stop(grace=2)  # nothing outlives the directory, so nothing needs to be drained
        self._stack.close()

    def start_api_server(self) -> None:
        """Start the API server (again: at the same address, with the same data) and wait until it is ready."""
        self.launch_api_server()
        self._wait_ready()

    def launch_api_server(self) -> None:
        """Start the API server where it does not run, without waiting for it."""
        if self._api_server is None or self._api_server.exit_code is not None:
            self._api_server = self._run("kube-apiserver", *self._api_server_flags())

    def stop_api_server(self) -> None:
        """Kill the API server: open connections break, new ones are refused."""
        if self._api_server is not None:
            self._api_server.stop(grace=0)

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - called as subprocess.run's
        check: bool = True,
        kubeconfig: Path | None = None,
    ) -> str:
        """Run kubectl and return its stdout.

        Parameters
        ----------
        input
            Text for stdin (`-f -`).
        check
            Raise CommandError when it fails; else return stdout and stderr together, whatever happened.
        kubeconfig
            Identity to use; the administrator's by default.
        """
        return self._command("kubectl", arguments, input, kubeconfig, check=check)

    def helm(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - called as subprocess.run's
        check: bool = True,
    ) -> str:
        """Run helm with caches of its own; as `kubectl`."""
        return self._command("helm", arguments, input, None, check=check)

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """Environment in which a shell has these kubectl and helm, connected, with caches of their own."""
        return {
            **os.environ,
            "PATH": f"{self.tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(self.directory / "kubectl-cache"),
            "HELM_CACHE_HOME": str(self.directory / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(self.directory / "helm" / "config"),
            "HELM_DATA_HOME": str(self.directory / "helm" / "data"),
        }

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Kubeconfig with a fresh token of a service account, valid for a day."""
        token = self.service_account_token(namespace, name)
        return self._write_kubeconfig(f"{namespace}-{name}-{secrets.token_hex(4)}", token, namespace)

    def service_account_token(self, namespace: str, name: str, *, pod: tuple[str, str] | None = None) -> str:
        """Token of a service account; bound to a pod's (name, uid) it dies with the pod."""
        spec: dict[str, object] = {"expirationSeconds": 86_400}
        if pod is not None:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod[0], "uid": pod[1]}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.api.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
        return str(answer["status"]["token"])

    def exists(self, path: str) -> bool:
        """Whether GET of an API path succeeds; False also while there is no answer at all."""
        try:
            self.api.text(path)
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True

    def write_kubeconfig(self, path: Path, token: str, namespace: str = "default") -> Path:
        """Write a kubeconfig for this API server."""
        server = {"server": self.url, "certificate-authority": str(self.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sitelog", "cluster": server}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [
                {"name": "sitelog", "context": {"cluster": "sitelog", "user": "user", "namespace": namespace}}
            ],
            "current-context": "sitelog",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return path

    def _write_kubeconfig(self, name: str, token: str, namespace: str = "default") -> Path:
        return self.write_kubeconfig(self.directory / f"{name}.kubeconfig", token, namespace)

    def _start(self) -> None:
        client_url, peer_url = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        self._etcd = self._run(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
        )
        self.start_api_server()
        self._controller_manager = self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={self._signing_key}",
            f"--root-ca-file={self.authority}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        )
        self._wait(lambda: self.exists("/api/v1/namespaces/default/serviceaccounts/default"), "service accounts")

    def _api_server_flags(self) -> list[str]:
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._api_port}",
            "--advertise-address=192.0.2.1",  # never used, but a host without any network needs it
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={self._signing_key}",
            f"--service-account-signing-key-file={self._signing_key}",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _run(self, name: str, *flags: str) -> Process:
        # No proxy settings, no user's configuration: the same everywhere.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory)}
        return Process([str(self.tools / name), *flags], self.directory / f"{name}.log", environment)

    def _wait_ready(self) -> None:
        self._wait(lambda: self.exists("/readyz"), "the API server to be ready")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for `condition`, but not for a server that has died meanwhile."""

        def condition_or_death() -> bool:
            for process in (self._etcd, self._api_server, self._controller_manager):
                if process is not None:
                    process.require_running()
            return condition()

        try:
            wait_for(condition_or_death, START_DEADLINE, what)
        except TimeoutError as error:
            tail = self._api_server.tail() if self._api_server else ""
            raise ProcessError(f"{error}. The end of the API server's log:\n{tail}") from error

    def _command(
        self, name: str, arguments: tuple[str, ...], text: str | None, kubeconfig: Path | None, *, check: bool
    ) -> str:
        done = subprocess.run(
            [str(self.tools / name), *arguments],
            input=text,
            capture_output=True,
            text=True,
            env=self.environment(kubeconfig),
            timeout=COMMAND_DEADLINE,
            check=False,
        )
        if not check:
            return done.stdout + done.stderr
        if done.returncode != 0:
            raise CommandError(f"{name} {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout
