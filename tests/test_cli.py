"""The command line: a wrong value of an option is a message about that option, never a traceback."""

import pytest
from typer.testing import CliRunner

from sitelog.cli import app

REQUIRED = {
    "webhook": ["--root-namespace=sitelog", "--certificate-dir=tls", "--gate-image=sitelog:1"],
    "controller": [
        "--root-namespace=sitelog",
        "--upload-image=uploader:1",
        "--admission-policy-prefix=sitelog",
        "--gate-role=gate",
    ],
    "upload": ["--log=log", "--kit=kit", "--job-id=job", "--client-name=site-1"],
    "remove-finalizers": [],
}
WRONG = [
    *((command, "--log-level=LOUD") for command in REQUIRED),
    *((command, "--log-format=xml") for command in REQUIRED),
    ("webhook", "--port=65536"),
    ("webhook", "--health-port=-1"),
    ("controller", "--health-port=http"),
    ("controller", "--sweep-interval=soon"),
    ("controller", "--published-retention=-1s"),
    ("controller", "--certificate-lifetime=90"),
    ("controller", "--max-uploads=0"),
    ("upload", "--retry-for=ever"),
]


@pytest.mark.parametrize(("command", "wrong"), WRONG)
def test_a_wrong_value_is_named(command: str, wrong: str) -> None:
    result = CliRunner().invoke(app, [command, *REQUIRED[command], wrong])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{wrong.partition('=')[0]}'" in result.stderr


def test_a_wrong_value_in_the_environment_is_named() -> None:
    wrong = {"SITELOG_LOG_LEVEL": "LOUD"}
    result = CliRunner().invoke(app, ["webhook", *REQUIRED["webhook"]], env=wrong)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "SITELOG_LOG_LEVEL" in result.stderr
