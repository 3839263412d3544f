"""The servers as fixtures, each started when a test first asks for it. `wire_to`: one more way to any of them, which
can be spoilt."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realservers.wire import Wire


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Any]:
    from realservers.mariadb import mariadb as start

    with start() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    from realservers.postgres import postgres as start

    with start() as server:
        yield server


@pytest.fixture(scope="session")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from realservers.radicale import radicale as start

    with start(tmp_path_factory.mktemp("radicale")) as server:
        yield server


@pytest.fixture(scope="session")
def tryton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from realservers.tryton import tryton as start

    with start(tmp_path_factory.mktemp("tryton")) as server:
        yield server


@pytest.fixture
def wire_to() -> Iterator[Callable[[int], Wire]]:
    wires: list[Wire] = []

    def make(port: int) -> Wire:
        wires.append(Wire(port))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()
