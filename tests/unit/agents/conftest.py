from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from world import World


@pytest.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[Callable[..., World]]:
    made: list[World] = []

    def make(*args: Any, **more: Any) -> World:
        made.append(World(tmp_path / str(len(made)), *args, **more).open())
        return made[-1]

    yield make
    for world in made:
        await world.close()


@pytest.fixture
async def world(make_world: Callable[..., World]) -> World:
    return make_world()
