"""`helm test`: a policy is read, and a job's ConfigMap comes back from the API server (dry run) decided upon.

Arguments: the namespace, and the name of a policy that governs nothing but this ConfigMap and is removed at the end.
"""
# ruff: noqa: INP001, T201  (a script: the test pod's own program)

import sys
import time

from kubernetes import client, config

namespace, name = sys.argv[1:]
labels = {"sitelog-helm-test": "true"}  # a policy cannot select by Sitelog's own labels
policy = {
    "apiVersion": "sitelog.dev/v1alpha1",
    "kind": "SiteLogPolicy",
    "metadata": {"name": name},
    "spec": {"logStreaming": "Allowed", "selector": {"matchLabels": labels}},
}
configmap = {"metadata": {"name": name, "labels": labels}, "data": {"config_fed_client.json": "{}"}}

config.load_config()
core, custom = client.CoreV1Api(), client.CustomObjectsApi()
where = {"group": "sitelog.dev", "version": "v1alpha1", "plural": "sitelogpolicies", "namespace": namespace}


def decision() -> str | None:
    """Return what was decided about the ConfigMap; None while the webhook has not seen the policy."""
    answer = core.create_namespaced_config_map(namespace, configmap, dry_run="All")
    return answer.metadata.labels.get("sitelog.dev/decision")


try:
    custom.create_namespaced_custom_object(body=policy, **where)
    try:
        deadline = time.monotonic() + 60
        while (decided := decision()) is None:
            if time.monotonic() > deadline:
                sys.exit(f"Nothing was decided in {namespace}: is a webhook pod ready, and does it serve {namespace}?")
            time.sleep(1)
        print(f"decision: {decided}")
    finally:
        custom.delete_namespaced_custom_object(name=name, **where)
except client.ApiException as error:
    sys.exit(f"The API server answers {error.status} {error.reason}: {error.body}")
