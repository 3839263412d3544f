"""The servers as fixtures. `wire` is one more way to any of them, which can be spoilt."""

from collections.abc import Callable, Iterator

import pytest

from realservers.radicale import Radicale
from realservers.radicale import radicale as start_radicale
from realservers.wire import Wire


@pytest.fixture(scope="session")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    with start_radicale(tmp_path_factory.mktemp("radicale")) as server:
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
