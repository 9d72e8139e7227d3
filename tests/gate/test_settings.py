"""The gate's settings come from the environment."""

from pathlib import Path

import pytest

from sitelog.gate.settings import Settings, SettingsError, from_environment

NO_FILE = Path("/no/service/account")


def test_defaults() -> None:
    settings = from_environment({"SITELOG_GATE_NAMESPACE": "fl"}, NO_FILE)
    assert settings == Settings(namespace="fl", fail_closed=True, timeout=6, kubeconfig=None)


def test_everything_set() -> None:
    environment = {
        "SITELOG_GATE_NAMESPACE": "fl",
        "SITELOG_GATE_FAILURE_POLICY": "Ignore",
        "SITELOG_GATE_TIMEOUT": "2.5",
        "KUBECONFIG": "/etc/kubeconfig",
    }
    expected = Settings(namespace="fl", fail_closed=False, timeout=2.5, kubeconfig="/etc/kubeconfig")
    assert from_environment(environment, NO_FILE) == expected


def test_the_pods_own_namespace_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("fl-hospital\n")
    assert from_environment({}, file).namespace == "fl-hospital"
    assert from_environment({"SITELOG_GATE_NAMESPACE": "other"}, file).namespace == "other"


def test_a_relative_kubeconfig_is_where_the_client_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"SITELOG_GATE_NAMESPACE": "fl", "KUBECONFIG": "one/config:/two/config"}
    assert from_environment(environment, NO_FILE).kubeconfig == f"{tmp_path}/one/config:/two/config"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SITELOG_GATE_NAMESPACE", "", "set SITELOG_GATE_NAMESPACE: this process has no service account"),
        ("SITELOG_GATE_FAILURE_POLICY", "ignore", "SITELOG_GATE_FAILURE_POLICY is 'ignore': it must be Fail or Ignore"),
        ("SITELOG_GATE_TIMEOUT", "6s", "SITELOG_GATE_TIMEOUT is '6s': it must be a number of seconds above 0"),
        ("SITELOG_GATE_TIMEOUT", "0", "SITELOG_GATE_TIMEOUT is '0'"),
        ("SITELOG_GATE_TIMEOUT", "-1", "SITELOG_GATE_TIMEOUT is '-1'"),
        ("SITELOG_GATE_TIMEOUT", "nan", "SITELOG_GATE_TIMEOUT is 'nan'"),
        ("SITELOG_GATE_TIMEOUT", "inf", "SITELOG_GATE_TIMEOUT is 'inf'"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({"SITELOG_GATE_NAMESPACE": "fl", name: value}, NO_FILE)
    assert str(caught.value).startswith(message)
