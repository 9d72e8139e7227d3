"""The session's federation (imported by tests/conftest.py)."""

from collections.abc import Iterator

import pytest

from support.federation.federation import Federation


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A real FL server and one site, both running. Who stops or changes one puts it back."""
    with Federation(tmp_path_factory.mktemp("federation")) as running:
        running.start_server()
        running.start_site()
        yield running
