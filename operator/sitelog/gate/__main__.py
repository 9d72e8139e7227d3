"""NVFlare's client with Sitelog's gate: `python -m sitelog.gate` with the arguments of `...client.client_train`."""

import os
import runpy
import sys

from . import deployer, job_policies, settings
from .publisher import Publisher

CLIENT_TRAIN = "nvflare.private.fed.app.client.client_train"


def main() -> None:
    """Install the gate, then be NVFlare's client process."""
    try:
        chosen = settings.from_environment(os.environ)
    except settings.SettingsError as error:
        sys.exit(f"sitelog.gate: {error}")
    publisher = Publisher(chosen)
    policies = job_policies.JobPolicies(publisher.log_streaming, fail_closed=chosen.fail_closed)
    job_policies.install(policies)
    deployer.install(deployer.Gate(publisher, policies, chosen))
    runpy.run_module(CLIENT_TRAIN, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
