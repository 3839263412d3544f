"""The connected systems of each app, as the environment records in force declare them."""

from collections.abc import Callable, Mapping

from waterline.connectors.run import Record
from waterline.connectors.systems import SettingsOf, Systems
from waterline.core.app_spec import Connection


class Connected:
    """`declared`: the connections of an app by its name; none for an app that is not served."""

    def __init__(
        self,
        declared: Callable[[str], Mapping[str, Connection]],
        settings_of: SettingsOf,
        count: Callable[[str], None],
        redirect: str = "",
    ) -> None:
        self._declared = declared
        self._settings_of = settings_of
        self._count = count
        self._redirect = redirect
        self._systems: dict[str, tuple[Mapping[str, Connection], Systems]] = {}
        self._before: list[Systems] = []  # calls may still be under way in them

    def of(self, app: str) -> Systems | None:
        """None: the app declares no connector."""
        declared = self._declared(app)
        known = self._systems.get(app)
        if known is not None and (known[0] is declared or known[0] == declared):
            return known[1]
        if known is not None:
            self._before.append(self._systems.pop(app)[1])
        if not declared:
            return None
        systems = Systems(declared, self._settings_of, self._record, self._redirect)
        self._systems[app] = (declared, systems)
        return systems

    async def close(self) -> None:
        for systems in (*self._before, *(systems for _, systems in self._systems.values())):
            await systems.close()
        self._before.clear()
        self._systems.clear()

    def _record(self, record: Record) -> None:
        self._count("connector_calls" if record.outcome == "done" else f"connector_{record.outcome}")
