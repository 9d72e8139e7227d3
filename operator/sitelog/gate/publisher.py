"""Job configurations as ConfigMaps: published so that the cluster's policy decides about them, and its answer read."""

import base64
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any, TypeVar

from kubernetes import config

# By name: the package imports its hundreds of modules when a name is first asked for, which takes seconds that nobody
# has while a job waits.
from kubernetes.client import ApiClient, ApiException, Configuration, CoreV1Api
from urllib3.exceptions import HTTPError

from sitelog.core import labels, names
from sitelog.core.policy.policy import LogStreaming

from .settings import Settings

MAX_BYTES = 1024 * 1024  # what the API server takes in one ConfigMap
QUESTION_TIMEOUT_SECONDS = (
    2.0  # for the question about a job that is already deployed: nothing waits for it but this job
)
_PAUSE_SECONDS = 0.25  # between two attempts
_SHOWN = 600  # characters of an answer that messages show
_DENIED = ("denied the request", "denied request")  # an admission webhook's refusal, an admission policy's refusal
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT, _TOO_MANY_REQUESTS, _SERVER_ERROR = 401, 403, 404, 409, 429, 500

T = TypeVar("T")


class PolicyRefusedError(Exception):
    """The cluster answered, and the job must not run with this configuration."""


class PolicyUnavailableError(Exception):
    """The cluster could not be asked; the message says why and what to do."""


@dataclass(frozen=True)
class Answer:
    """A published configuration as the cluster's policy left it.

    Attributes
    ----------
    content : the configuration that the job must run with.
    decision, reason, policy : the provenance, empty where no policy governs.
    log_streaming : what the policy says, None where no policy governs.
    """

    content: bytes
    decision: str
    reason: str
    policy: str
    log_streaming: LogStreaming | None


class Publisher:
    """The gate's edge to the Kubernetes API.

    The connection is made anew for each job: jobs are rare, credentials change, and an API that is down when the client
    starts must not keep it from registering.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def publish(self, job_id: str, client_name: str, key: str, content: bytes) -> Answer:
        """Create or replace the job's ConfigMap and return what the API server made of it.

        Raises
        ------
        PolicyRefusedError
            Admission refused the configuration, or the answer is not one for it.
        PolicyUnavailableError
            No answer within the time limit, or the API server did not let the gate ask.
        """
        if len(content) > MAX_BYTES:
            raise PolicyUnavailableError(
                f"{key} has {len(content)} bytes and a ConfigMap takes {MAX_BYTES}: move what is large out of it"
            )
        manifest = self._manifest(job_id, client_name, key, content)
        timeout = self._settings.timeout
        # The last part of the time is for saying what the trouble was, rather than only that time is up.
        deadline = time.monotonic() + timeout - min(1.0, timeout / 4)
        troubles: list[str] = []
        return _answer(_within(timeout, lambda: self._write_until(deadline, manifest, troubles), troubles), key)

    def log_streaming(self, job_id: str, client_name: str) -> LogStreaming | None:
        """Return what the policy says now about a job that was published before.

        Raises
        ------
        PolicyUnavailableError
            No answer within two seconds, or nothing is published for this job (any more).
        """

        def read() -> Any:
            with self._connect() as api:
                return CoreV1Api(api).read_namespaced_config_map(
                    _name(job_id, client_name), self._settings.namespace, _request_timeout=QUESTION_TIMEOUT_SECONDS
                )

        try:
            return _log_streaming(_within(QUESTION_TIMEOUT_SECONDS, read).metadata.annotations or {})
        except ApiException as error:
            raise PolicyUnavailableError(_message(error)) from error
        except HTTPError as error:
            raise PolicyUnavailableError(_shortened(str(error))) from error

    def _connect(self) -> Any:
        configuration = Configuration()
        configuration.retries = False  # repeated here, where the time limit is known
        try:
            if self._settings.kubeconfig:
                config.load_kube_config(self._settings.kubeconfig, client_configuration=configuration)
            else:
                config.load_incluster_config(client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise PolicyUnavailableError(
                f"the Kubernetes API cannot be found ({_shortened(str(error))}): give this pod a service account token"
            ) from error
        api = ApiClient(configuration)
        # Closing the ApiClient leaves its idle connections to the garbage collector.
        api.set_default_header("Connection", "close")
        return api

    def _manifest(self, job_id: str, client_name: str, key: str, content: bytes) -> dict[str, Any]:
        manifest: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": _name(job_id, client_name),
                "namespace": self._settings.namespace,
                "labels": {
                    names.LABEL_JOB: labels.label_value(job_id),
                    names.LABEL_CLIENT: labels.label_value(client_name),
                    names.LABEL_PUBLISHED_BY: names.PUBLISHED_BY_GATE,
                },
                "annotations": {names.ANNOTATION_JOB_ID: job_id, names.ANNOTATION_CLIENT_NAME: client_name},
            },
        }
        try:
            manifest["data"] = {key: content.decode("utf-8")}
        except UnicodeDecodeError:
            manifest["binaryData"] = {key: base64.b64encode(content).decode("ascii")}
        return manifest

    def _write_until(self, deadline: float, manifest: dict[str, Any], troubles: list[str]) -> Any:
        with self._connect() as api:
            core = CoreV1Api(api)
            while True:
                try:
                    return _create_or_replace(core, manifest, deadline)
                except ApiException as error:
                    if error.status:
                        troubles.append(_trouble(error, self._settings.namespace))
                    else:  # the Kubernetes client's way to say that TLS failed
                        troubles.append(_no_answer(api, str(error.reason)))
                except HTTPError as error:
                    troubles.append(_no_answer(api, str(error)))
                if time.monotonic() + _PAUSE_SECONDS >= deadline:
                    raise PolicyUnavailableError(troubles[-1])
                time.sleep(_PAUSE_SECONDS)


def _name(job_id: str, client_name: str) -> str:
    return labels.object_name(names.PUBLISHED_NAME_PREFIX, job_id, client_name)


def _create_or_replace(core: Any, manifest: dict[str, Any], deadline: float) -> Any:
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        return core.create_namespaced_config_map(
            namespace, manifest, field_manager=names.FIELD_MANAGER, _request_timeout=_left(deadline)
        )
    except ApiException as error:
        if error.status != _CONFLICT:
            raise
        try:  # the job was deployed before, or an answer was lost
            return core.replace_namespaced_config_map(
                name, namespace, manifest, field_manager=names.FIELD_MANAGER, _request_timeout=_left(deadline)
            )
        except ApiException as gone:
            raise (error if gone.status == _NOT_FOUND else gone) from gone  # deleted in between: a conflict, to repeat


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), _PAUSE_SECONDS)


def _trouble(error: ApiException, namespace: str) -> str:
    """Say what a passing trouble is; raise what no repetition can mend."""
    message = _message(error)
    if any(words in message for words in _DENIED):
        raise PolicyRefusedError(message) from error
    if error.status in (_UNAUTHORIZED, _FORBIDDEN):
        raise PolicyUnavailableError(
            f"{message}: let this pod's service account create, get and update configmaps in namespace {namespace}"
        ) from error
    if error.status not in (_CONFLICT, _TOO_MANY_REQUESTS) and error.status < _SERVER_ERROR:
        raise PolicyUnavailableError(message) from error
    return f"{message}: check Sitelog's webhook and the API server"


def _no_answer(api: Any, why: str) -> str:
    return f"{api.configuration.host} does not answer ({_shortened(why)}): check the API server"


def _message(error: ApiException) -> str:
    try:
        text = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):  # not a Status of the API server's, perhaps a proxy's page
        text = f"HTTP {error.status} {error.reason}"
    return _shortened(str(text))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 4] + " ..."


def _answer(answered: Any, key: str) -> Answer:
    contents = {name: text.encode("utf-8") for name, text in (answered.data or {}).items()}
    contents.update((name, base64.b64decode(text)) for name, text in (answered.binary_data or {}).items())
    if list(contents) != [key]:
        raise PolicyRefusedError(
            f"ConfigMap {answered.metadata.namespace}/{answered.metadata.name} came back with the keys "
            f"{sorted(contents)} instead of {key} alone: look for another admission webhook that changes ConfigMaps"
        )
    annotations = answered.metadata.annotations or {}
    return Answer(
        content=contents[key],
        decision=(answered.metadata.labels or {}).get(names.LABEL_DECISION, ""),
        reason=annotations.get(names.ANNOTATION_REASON, ""),
        policy=annotations.get(names.ANNOTATION_POLICY, ""),
        log_streaming=_log_streaming(annotations),
    )


def _log_streaming(annotations: dict[str, str]) -> LogStreaming | None:
    value = annotations.get(names.ANNOTATION_LOG_STREAMING)
    if value is None:
        return None
    try:
        return LogStreaming(value)
    except ValueError:  # a value that this gate does not know is no permission
        return LogStreaming.FORBIDDEN


def _within(seconds: float, work: Callable[[], T], troubles: Sequence[str] = ()) -> T:
    """Return what `work` returns, in no more than this time; else say the last of the troubles that it had.

    The request timeouts of an HTTP client do not bound the look-up of a name, a credential program of a kubeconfig, or
    a server that sends one byte at a time. The thread is left to end by itself.
    """
    outcome: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            outcome.set_exception(error)

    threading.Thread(target=run, name="sitelog-gate", daemon=True).start()
    try:
        return outcome.result(seconds)
    except futures.TimeoutError as error:
        late = f"the Kubernetes API did not answer within {seconds:g} s: check the API server and Sitelog's webhook"
        raise PolicyUnavailableError(troubles[-1] if troubles else late) from error
