"""What `make demo` shows is asserted by its own steps; here they run on the session's parts."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import demo
from demo.narrator import WIDTH, ClaimError, Narrator
from demo.story import tell_story
from demo.world import World
from support.control_plane.control_plane import ControlPlane
from support.federation.federation import Federation
from support.kubelet.kubelet import PlayedKubelet
from support.sitelog.installation import Installation


@pytest.fixture
def world(
    control_plane: ControlPlane,
    kubelet: PlayedKubelet,
    installation: Installation,
    federation: Federation,
    tmp_path: Path,
) -> Iterator[World]:
    yield World(control_plane, kubelet, installation, federation, Narrator(), tmp_path)
    federation.stop_site()
    federation.start_site()


def test_the_demo_tells_its_story(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    tell_story(world)

    told = capsys.readouterr().out
    assert re.findall(r"^=== (\d)\.", told, re.MULTILINE) == ["1", "2", "3", "4", "5"]
    assert [line for line in told.splitlines() if len(line) > WIDTH] == []
    assert "\033" not in told


def test_a_claim_that_does_not_hold_ends_it() -> None:
    with pytest.raises(ClaimError, match=r"does not: water runs uphill\n.*: downhill"):
        Narrator().check("water runs uphill", holds=False, seen="downhill")


@pytest.mark.parametrize(("command", "fails"), [("exit 2", False), ("exit 2", True), ("true", True)])
def test_a_command_that_ends_in_another_way_ends_it(command: str, *, fails: bool) -> None:
    with pytest.raises(ClaimError, match=command):
        Narrator().type(command, fails=fails)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ClaimError("the log is stored"), 1, "FAILED: the log is stored"),
        (TimeoutError("waited 30 s for the log"), 1, "FAILED: waited 30 s for the log"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_it_says_why_it_failed(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> World:
        raise error

    monkeypatch.setattr(demo, "_start", fail)

    assert demo.main() == code
    assert says in capsys.readouterr().out
