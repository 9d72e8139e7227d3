"""The gate's folder in the place of NVFlare's module, and nothing else changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitelog.core.client_command import ClientCommandError, is_client_command, through_gate
from sitelog.core.names import CLIENT_MODULE

FOLDER = "/gate"
WORDS = st.lists(st.sampled_from(["python3", "-u", "-m", "/ws", "--set", "a=b", "", "$(X)"]), max_size=5)


@given(WORDS, WORDS, st.integers(min_value=0))
def test_two_words_become_one_wherever_the_border_is(before: list[str], after: list[str], border: int) -> None:
    argv = [*before, "-m", CLIENT_MODULE, *after]
    border %= len(argv) + 1
    command, args = through_gate(argv[:border], argv[border:], FOLDER)
    assert [*command, *args] == [*before, FOLDER, *after]
    assert argv[: len(command)] == command or border > len(before)
    assert not is_client_command([*command, *args])


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", f"python3 -m {CLIENT_MODULE} -m /ws"],
        ["sh", "-c", f"python3 -m {CLIENT_MODULE}", "-m", CLIENT_MODULE],
        ["python3", f"-m{CLIENT_MODULE}"],
        ["python3", "-um", CLIENT_MODULE],
        ["run.py", CLIENT_MODULE],
        [CLIENT_MODULE, "-m"],
    ],
)
def test_any_other_form_is_known_and_refused(argv: list[str]) -> None:
    assert is_client_command(argv)
    with pytest.raises(ClientCommandError):
        through_gate(argv, [], FOLDER)


@pytest.mark.parametrize("argv", [[], ["python3", "-m", "sitelog.gate"], ["python3", FOLDER, "-m", "/ws"]])
def test_what_is_no_client_or_has_the_gate(argv: list[str]) -> None:
    assert not is_client_command(argv)
