"""Where a conversation takes place: which app, environment and branch an address belongs to."""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from waterline.core.branch import Branch
from waterline.core.conversing import Conversing


class Place(Struct, frozen=True):
    app: str
    env: str
    branch: Branch
    rules: Conversing = Conversing()


class Places(Protocol):
    def at(self, channel: str, address: str) -> Place | None:
        """Whose address this is."""
        ...

    def of(self, app: str, env: str, branch: str) -> Place | None: ...

    def apps(self) -> Iterable[str]: ...


class KnownPlaces:
    """Addresses of branches, as declared. The first to declare an address has it."""

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._at: dict[tuple[str, str], Place] = {}
        self._of: dict[tuple[str, str, str], Place] = {}
        for place in places:
            self._of[place.app, place.env, place.branch.id] = place
            for channel, addresses in place.branch.addresses.items():
                for address in addresses:
                    self._at.setdefault((channel, address), place)

    def at(self, channel: str, address: str) -> Place | None:
        return self._at.get((channel, address))

    def of(self, app: str, env: str, branch: str) -> Place | None:
        return self._of.get((app, env, branch))

    def apps(self) -> Iterable[str]:
        return sorted({place.app for place in self._of.values()})
