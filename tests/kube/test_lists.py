"""Lists over several namespaces on a real API server, with rights in some of them."""

import secrets
from collections.abc import AsyncIterator

import pytest

from sitelog.core.policy.governed import EVERYWHERE
from sitelog.kube.client import ApiError, KubeClient
from sitelog.kube.lists import pages
from support.control_plane.control_plane import ControlPlane

CONFIGMAPS = ("v1", "configmaps")


@pytest.fixture
async def limited(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubeClient]:
    """A client that may list ConfigMaps in this namespace alone."""
    here = f"--namespace={namespace}"
    control_plane.kubectl("create", "role", "lists", "--verb=list", "--resource=configmaps", here)
    account = f"--serviceaccount={namespace}:default"
    control_plane.kubectl("create", "rolebinding", "lists", "--role=lists", account, here)
    control_plane.kubectl("create", "configmap", "one", here)
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "default")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    client = await KubeClient.connect()
    yield client
    await client.close()


async def test_one_that_may_not_be_read_costs_only_itself(
    limited: KubeClient, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    absent = f"absent-{secrets.token_hex(3)}"
    unread: dict[str, ApiError] = {}
    asked = ("default", namespace, absent)
    found = [body async for page in pages(limited, asked, CONFIGMAPS, unread, size=1) for body in page]
    assert "one" in {body["metadata"]["name"] for body in found}
    assert {body["metadata"]["namespace"] for body in found} == {namespace}
    assert {name: error.status for name, error in unread.items()} == {"default": 403, absent: 403}
    assert "configmaps in namespace default cannot be listed" in caplog.text


async def test_a_list_of_all_is_needed(limited: KubeClient) -> None:
    with pytest.raises(ApiError, match="403"):
        [page async for page in pages(limited, EVERYWHERE, CONFIGMAPS, {})]


async def test_a_namespace_that_is_not_there_is_empty(client: KubeClient) -> None:
    unread: dict[str, ApiError] = {}
    found = [page async for page in pages(client, (f"absent-{secrets.token_hex(3)}",), CONFIGMAPS, unread)]
    assert (found, unread) == ([[]], {})
