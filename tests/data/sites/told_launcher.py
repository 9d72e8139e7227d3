"""NVFlare's own process launcher; its jobs get what Sitelog's webhook gives to job pods."""

import shlex
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher

from sitelog.core.jobpod.command_line import forbid_streaming

TOLD = "told"  # begins the names of the jobs whose process gets the argument
REMEMBERS = "told-remembers"  # of those that get the variable too
VARIABLE = "NVFLARE_ALLOW_LOG_STREAMING=false"


class ToldLauncher(ClientProcessJobLauncher):  # type: ignore[misc] # NVFlare has no types
    """Gives the second lock to some jobs, so that the others show what it does."""

    def get_command(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> str:
        argv = shlex.split(super().get_command(job_meta, fl_ctx))
        if job_meta["name"].startswith(TOLD):
            argv, _ = forbid_streaming(argv, [])
        if job_meta["name"].startswith(REMEMBERS):
            argv = ["env", VARIABLE, *argv]
        return shlex.join(argv)
