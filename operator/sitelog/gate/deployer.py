"""NVFlare's AppDeployer, and after it the policy: no job starts with a configuration that the cluster has not seen."""

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import FLContextKey, JobConstants
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.fuel.utils.config_factory import ConfigFactory
from nvflare.private.fed.client import client_engine
from nvflare.private.fed.utils.app_deployer import AppDeployer

from . import LOGGER
from .job_policies import JobPolicies
from .publisher import PolicyRefusedError, PolicyUnavailableError, Publisher
from .settings import FAILURE_POLICY, Settings

logger = logging.getLogger(LOGGER)


class Gate:
    """What happens to a deployed app between NVFlare's deployer and the answer to the FL server."""

    def __init__(self, publisher: Publisher, policies: JobPolicies, settings: Settings) -> None:
        self._publisher = publisher
        self._policies = policies
        self._settings = settings

    def check(self, job_id: str, client_name: str, configuration: Path) -> str:
        """Bring a deployed client configuration into line with the policy.

        Parameters
        ----------
        job_id, client_name
            Raw, as NVFlare has them.
        configuration
            The name that the job process will be told: the file it finds by it may have another extension.

        Returns
        -------
        str
            Why the job must not run; empty if it may.
        """
        try:
            file = find_configuration(configuration)
            if file is None:
                logger.info("job %s at %s: no client configuration, nothing to publish", job_id, client_name)
                return ""
            return self._publish(job_id, client_name, file)
        except PolicyUnavailableError as error:
            if not self._settings.fail_closed:
                logger.warning(
                    "job %s at %s runs unchecked, as %s is Ignore: %s", job_id, client_name, FAILURE_POLICY, error
                )
                return ""
            return f"the site's log policy cannot be asked, and {FAILURE_POLICY} is Fail: {error}"
        except PolicyRefusedError as error:
            return f"refused by the site's log policy: {error}"
        except OSError as error:
            return f"the configuration cannot be read or written at the site ({error.strerror}): see the client's disk"

    def _publish(self, job_id: str, client_name: str, file: Path) -> str:
        before = file.read_bytes()
        answer = self._publisher.publish(job_id, client_name, file.name, before)
        if answer.content != before:
            replace_content(file, answer.content)
        self._policies.remember(job_id, answer.log_streaming)
        logger.info(
            "job %s at %s: %s, reason %s, policy %s",
            job_id,
            client_name,
            answer.decision or "not governed",
            answer.reason or "none",
            answer.policy or "none",
        )
        return ""


def find_configuration(configuration: Path) -> Path | None:
    """Return the file that the job process will load, None if there is none.

    NVFlare's own look-up decides: any of its extensions, in its order, in subfolders too. The order of two subfolders
    is the file system's, and another one in the job's pod than here, so two equal names below the folder are refused.
    """
    _, found = ConfigFactory.search_config_format(str(configuration))
    if found is None:
        return None
    file = Path(found)
    same = sorted(str(other.relative_to(configuration.parent)) for other in configuration.parent.rglob(file.name))
    if file.parent != configuration.parent and len(same) > 1:
        raise PolicyRefusedError(
            f"the job has {' and '.join(same)}, and which one it loads is not certain: keep one of them, "
            f"in {configuration.parent.name}/"
        )
    return file


def replace_content(file: Path, content: bytes) -> None:
    """Write `content` to `file` in one step, with the file's mode; a reader sees the old content or the new one."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".sitelog-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), file.stat().st_mode & 0o7777)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def deployer(gate: Gate) -> type[AppDeployer]:
    """Return NVFlare's AppDeployer with the gate behind it, to be made without arguments as NVFlare does."""

    class GatedAppDeployer(AppDeployer):  # type: ignore[misc]  # NVFlare is untyped
        def deploy(
            self,
            workspace: Workspace,
            job_id: str,
            job_meta: dict[str, Any],
            app_name: str,
            app_data: bytes,
            fl_ctx: FLContext,
        ) -> str | None:
            """Deploy as NVFlare does, signature and authorisation first; then let the gate check the result.

            Returns the error that reaches the job's deploy detail, if any. The gate's part raises nothing: NVFlare
            would report an exception as well, but leave the run folder behind.
            """
            refused: str | None = super().deploy(workspace, job_id, job_meta, app_name, app_data, fl_ctx)
            if refused:
                return refused
            error = _checked(gate, job_id, workspace, _configuration(workspace, job_id, fl_ctx))
            if not error:
                return None
            logger.error("job %s at %s does not run: %s", job_id, workspace.site_name, error)
            shutil.rmtree(workspace.get_run_dir(job_id), ignore_errors=True)  # as NVFlare does with what it refuses
            return f"Sitelog: {error}"

    return GatedAppDeployer


def _checked(gate: Gate, job_id: str, workspace: Workspace, configuration: Path) -> str:
    try:
        return gate.check(job_id, workspace.site_name, configuration)
    except Exception as error:
        logger.exception("job %s: a mistake in the gate", job_id)
        return f"a mistake in Sitelog's gate ({type(error).__name__}): see the client's log"


def _configuration(workspace: Workspace, job_id: str, fl_ctx: FLContext) -> Path:
    """Return the name that the job process will be told for its configuration, as client_train's arguments have it.

    The workspace given to a deployer has NVFlare's default folder; the client's own may be another one.
    """
    default = Path(workspace.config_folder) / JobConstants.CLIENT_JOB_CONFIG
    told = getattr(fl_ctx.get_prop(FLContextKey.ARGS), "client_config", default)
    return Path(workspace.get_app_dir(job_id), told)


def install(gate: Gate) -> None:
    """Put the gated deployer where NVFlare's client takes its default from."""
    client_engine.AppDeployer = deployer(gate)
