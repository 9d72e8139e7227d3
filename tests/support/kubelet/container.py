"""One container of Sitelog's own pods, played as a process of this virtual environment."""

import contextlib
import http.client
import os
import re
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

from support.control_plane.api import Json
from support.control_plane.process import Process, free_port, port_is_free
from support.kubelet.logs import PodLogs
from support.kubelet.status import container_status, running, terminated, waiting
from support.kubelet.volumes import TOKEN_MOUNT, MountError, Read, Volumes, contents, field, rewrite

PROGRAMS = Path(sys.executable).parent
MESSAGE_BYTES = 4096  # of /dev/termination-log
FALLBACK_BYTES = 2048  # of the log instead, where the container asks for it
FIRST_BACKOFF, LAST_BACKOFF = 0.2, 5.0  # a real kubelet waits 10 s to 5 minutes


class Ports:
    """Local ports of all containers: the declared one where it is free, else another, never one for two."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._lock = threading.Lock()

    def take(self, wanted: int) -> int:
        """Reserve a port."""
        with self._lock:
            port = wanted
            while port in self._taken or not port_is_free(port):
                port = free_port()
            self._taken.add(port)
            return port

    def give_back(self, ports: list[int]) -> None:
        """Release what `take` gave."""
        with self._lock:
            self._taken.difference_update(ports)


class Container:
    """Starts, restarts, probes and stops one container; tells its status.

    Attributes
    ----------
    status
        Its entry in containerStatuses.
    ports
        containerPort -> port on 127.0.0.1, while it runs.
    """

    def __init__(self, pod: Json, spec: Json, directory: Path, logs: PodLogs, node_ports: Ports) -> None:
        self.spec = spec
        self.ports: dict[int, int] = {}
        self.status = container_status(spec, waiting("ContainerCreating"))
        self._pod = pod
        self._logs = logs
        self._node_ports = node_ports
        self._directory = directory / spec["name"]
        self._directory.mkdir(parents=True)
        self._message = self._directory / "termination-log"
        self._process: Process | None = None
        self._backoff = FIRST_BACKOFF
        self._next_start = 0.0
        self._next_probe = 0.0

    @property
    def runs(self) -> bool:
        """Whether its process runs, as far as `tend` has seen."""
        return self._process is not None

    @property
    def finished(self) -> bool:
        """Whether it has ended and will not be started again."""
        return "terminated" in self.status["state"] and self._next_start == 0

    def tend(self, volumes: Volumes, read: Read, kubeconfig: Path | None) -> None:
        """Start it when it is time, notice its end, ask its readiness probe."""
        if self._process is None:
            if not self.finished and time.monotonic() >= self._next_start:
                self._start(volumes, read, kubeconfig)
        elif (code := self._process.exit_code) is not None:
            self._has_ended(code)
        elif time.monotonic() >= self._next_probe:
            self._probe()

    def wait_config(self, message: str) -> None:
        """It cannot be started because of what its spec asks for; look again in a second."""
        self.status = container_status(self.spec, waiting("CreateContainerConfigError", message), self.status)
        self._next_start = time.monotonic() + 1

    def stop(self, deadline: float) -> None:
        """End it for good: SIGTERM now, SIGKILL when time.monotonic() reaches the deadline."""
        if self._process is not None:
            code = self._process.stop(max(0.0, deadline - time.monotonic()))
            self._has_ended(code, for_good=True)
        self._next_start = 0.0

    def _start(self, volumes: Volumes, read: Read, kubeconfig: Path | None) -> None:
        try:
            environment = self._environment(read)
        except MountError as error:
            self.wait_config(str(error))
            return
        declared = [port["containerPort"] for port in self.spec.get("ports", [])]
        self.ports = {port: self._node_ports.take(port) for port in declared}
        self._message.write_bytes(b"")
        message_path = self.spec.get("terminationMessagePath", "/dev/termination-log")
        paths = volumes.local_paths(self.spec) | {message_path: str(self._message)}
        arguments = [*self.spec.get("command", []), *self.spec.get("args", [])]
        entrypoint = [] if "command" in self.spec else [_program(self.spec["image"])]  # a path of this host already
        command = entrypoint + [self._here(_expand(argument, environment), paths) for argument in arguments]
        environment = self._base_environment() | {name: self._here(value, paths) for name, value in environment.items()}
        if kubeconfig is not None and TOKEN_MOUNT in paths:  # where a client in a cluster would find its token
            environment["KUBECONFIG"] = str(kubeconfig)
        log = self._logs.begin(self.spec["name"])
        self._process = Process(command, log.path, environment, self._directory)
        self._next_start, self._next_probe = 0.0, 0.0
        ready = None if "readinessProbe" not in self.spec else False
        self.status = container_status(self.spec, running(), self._restarted(), ready=ready)

    def _restarted(self) -> Json:
        """Return what stays of the status of the run before."""
        if "terminated" not in self.status["lastState"]:
            return {}
        return {"restartCount": self.status["restartCount"], "lastState": self.status["lastState"]}

    def _has_ended(self, code: int, *, for_good: bool = False) -> None:
        assert self._process is not None
        self._logs.current(self.spec["name"]).ended.set()
        self._node_ports.give_back(list(self.ports.values()))
        self.ports = {}
        state = terminated(code, None, self.status, self._termination_message(code))
        self._process = None
        policy = self._pod["spec"].get("restartPolicy", "Always")
        if for_good or policy == "Never" or (policy == "OnFailure" and code == 0):
            self.status = container_status(self.spec, state, self.status)
            return
        before = {
            **self.status,
            "restartCount": self.status["restartCount"] + 1,
            "lastState": state,
        }
        word = waiting("CrashLoopBackOff", f"back-off {self._backoff:g}s restarting failed container")
        self.status = container_status(self.spec, word, before)
        self._next_start = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, LAST_BACKOFF)

    def _termination_message(self, code: int) -> str | None:
        data = self._message.read_bytes()[:MESSAGE_BYTES]
        if not data and code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            data = self._logs.current(self.spec["name"]).path.read_bytes()[-FALLBACK_BYTES:]
        return data.decode(errors="replace") or None

    def _base_environment(self) -> dict[str, str]:
        """Return what an image would set; nothing of the test's own environment but the way to programs."""
        return {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._directory),
            "TMPDIR": str(self._directory),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            # `sitelog upload` writes its result there by default; the host's /dev is not the container's.
            "SITELOG_RESULT_FILE": str(self._message),
        }

    def _environment(self, read: Read) -> dict[str, str]:
        environment: dict[str, str] = {}
        if "envFrom" in self.spec:
            raise MountError("the played kubelet knows no envFrom")
        for entry in self.spec.get("env", []):
            value = self._value_from(entry["valueFrom"], read) if "valueFrom" in entry else entry.get("value", "")
            if value is not None:
                environment[entry["name"]] = _expand(value, environment)
        return environment

    def _value_from(self, source: Json, read: Read) -> str | None:
        if "fieldRef" in source:
            return field(self._pod, source["fieldRef"]["fieldPath"])
        for kind, plural in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if kind in source:
                reference = source[kind]
                found = read(plural, reference["name"])
                data = contents(found, plural) if found else {}
                if reference["key"] in data:
                    return data[reference["key"]].decode()
                if reference.get("optional"):
                    return None
                raise MountError(f"couldn't find key {reference['key']} in {plural} {reference['name']}")
        raise MountError(f"the played kubelet knows no {', '.join(source)}")

    def _here(self, text: str, paths: dict[str, str]) -> str:
        """Translate paths and declared ports of the container's world to this host's."""
        for declared, local in self.ports.items():
            text = re.sub(rf"(^|=){declared}$", rf"\g<1>{local}", text)
        return rewrite(text, paths)

    def _probe(self) -> None:
        probe = self.spec.get("readinessProbe", {})
        self._next_probe = time.monotonic() + min(1.0, probe.get("periodSeconds", 10))
        if "httpGet" in probe:
            ready = _answers_http(probe["httpGet"], self.local_port(probe["httpGet"]["port"]))
        elif "tcpSocket" in probe:
            ready = _listens(self.local_port(probe["tcpSocket"]["port"]))
        else:
            ready = True  # no probe, or one that is not played
        self.status = {**self.status, "ready": ready}

    def local_port(self, port: int | str) -> int:
        """Port on 127.0.0.1 of a port's name or number."""
        names = {entry.get("name"): entry["containerPort"] for entry in self.spec.get("ports", [])}
        number = names.get(port, port)
        return self.ports.get(int(number), int(number))


def _program(image: str) -> str:
    """Return what an image runs: `sitelog`, unless its name is a file:// address of a test's own program."""
    return image.removeprefix("file://") if image.startswith("file://") else str(PROGRAMS / "sitelog")


def _answers_http(get: Json, port: int) -> bool:
    if get.get("scheme", "HTTP") == "HTTPS":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1",
            port,
            timeout=1,
            context=ssl._create_unverified_context(),  # a kubelet does not verify either
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    with contextlib.closing(connection):
        try:
            connection.request("GET", get.get("path", "/"))
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _expand(text: str, environment: dict[str, str]) -> str:
    """Resolve $(NAME) as Kubernetes does: unknown names stay, $$ is a dollar."""
    return re.sub(
        r"\$(?:\$|\((\w[\w.-]*)\))",
        lambda found: "$" if found[1] is None else environment.get(found[1], found[0]),
        text,
    )
