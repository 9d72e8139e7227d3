"""Submit a job and print its id: `python submit.py USER KIT JOB_FOLDER`.

A process of its own: NVFlare's admin session leaves threads behind, which a test run has no use for.
"""

import os
import sys

from nvflare.fuel.flare_api.flare_api import new_secure_session

user, kit, folder = sys.argv[1:]
session = new_secure_session(user, kit, timeout=30.0)
print("JOB", session.submit_job(folder), flush=True)
session.close()
os._exit(0)
