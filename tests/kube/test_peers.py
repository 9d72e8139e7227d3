"""Pods of one ReplicaSet divide a work among themselves."""

import uuid

import pytest

from sitelog.kube.client import KubeClient
from sitelog.kube.peers import WHOLE, Share, share
from support.control_plane.control_plane import ControlPlane
from support.wait import wait_for


@pytest.mark.parametrize("number", [1, 2, 3])
def test_whatever_there_is_falls_to_one_share(number: int) -> None:
    uids = [str(uuid.UUID(int=seed)) for seed in range(300)]
    owners = [[index for index in range(number) if Share(index, number).has(uid)] for uid in uids]
    assert all(len(each) == 1 for each in owners)
    assert {each[0] for each in owners} == set(range(number))


async def test_each_pod_of_a_replica_set_has_its_own_share(
    control_plane: ControlPlane, namespace: str, client: KubeClient
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    labels = {"app": "peers"}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    control_plane.api.create(pods, {"metadata": {"name": "alone", "labels": {"app": "other"}}, "spec": spec})
    template = {"metadata": {"labels": labels}, "spec": spec}
    replicas = {
        "metadata": {"name": "peers"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    control_plane.api.create(f"/apis/apps/v1/namespaces/{namespace}/replicasets", replicas)

    def names() -> list[str]:
        return [pod["metadata"]["name"] for pod in control_plane.api.get(pods, labelSelector="app=peers")["items"]]

    wait_for(lambda: len(names()) == 2, 60, "two pods")
    found = [await share(client, namespace, name) for name in names()]
    assert sorted(each.index for each in found) == [0, 1]
    assert {each.number for each in found} == {2}
    for other in ("alone", "nobody", ""):
        assert await share(client, namespace, other) == WHOLE
