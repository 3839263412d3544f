"""The connected systems of an app, by the names that it gave them; each is made when it is first called."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from waterline.connectors import registry
from waterline.connectors.base import Config, ConnectorFault, Manifest, Scope
from waterline.connectors.run import Ready, Record, perform
from waterline.connectors.stand_in import StandIn
from waterline.core.app_spec import Connection

# Of a connector's name and the settings that its kind has: those that are set.
SettingsOf = Callable[[str, tuple[str, ...]], Mapping[str, str]]


class Systems:
    def __init__(
        self,
        declared: Mapping[str, Connection],
        settings_of: SettingsOf,
        record: Callable[[Record], None] | None = None,
        redirect: str = "",
    ) -> None:
        """`redirect`: the address of what plays every system."""
        self._declared = declared
        self._settings_of = settings_of
        self._record = record
        self._redirect = redirect
        self._ready: dict[str, Ready] = {}

    async def call(
        self,
        connector: str,
        operation: str,
        arguments: Mapping[str, Any],
        key: str,
        scope: Scope,
        *,
        confirmed: bool = True,
        reads_only: bool = False,
    ) -> dict[str, Any]:
        """Performs it (connectors/run.py). `confirmed`: an effect of a flow is, or the flow would not have planned it;
        a model's wish is not. Raises ConnectorFault."""
        ready = self._ready.get(connector)
        if ready is None:  # a client library may take half a second to be imported
            ready = self._ready.setdefault(connector, await asyncio.to_thread(self._made, connector))
        return await perform(ready, operation, arguments, key, scope, confirmed=confirmed, reads_only=reads_only)

    def reads(self, connector: str, operation: str) -> bool:
        """Whether the operation changes nothing. Raises ConnectorFault if there is none such."""
        return self.manifest(connector).operation(operation).effect == "read"

    def manifest(self, connector: str) -> Manifest:
        return self.ready(connector).manifest

    def ready(self, connector: str) -> Ready:
        found = self._ready.get(connector)
        if found is None:
            found = self._ready[connector] = self._made(connector)
        return found

    def _made(self, name: str) -> Ready:
        connection = self._declared.get(name)
        if connection is None:
            known = ", ".join(self._declared) or "none"
            raise ConnectorFault("invalid", f'The app declares no connector "{name}". Declared: {known}')
        try:
            kind = registry.kind(connection.kind)
        except KeyError:
            text = f'{name}: this version has no connector of the kind "{connection.kind}"'
            raise ConnectorFault("schema", text) from None
        manifest = kind.describe(connection.parameters, connection.files)
        if self._redirect:
            return Ready(StandIn(name, manifest, self._redirect), Config(name), record=self._record)
        wanted = manifest.settings
        config = Config(name, dict(self._settings_of(name, wanted)), connection.parameters, connection.files)
        if wanted and not config.settings:
            variable = f"WATERLINE_CONNECTOR_{name.upper().replace('-', '_')}_{wanted[0].upper()}"
            raise ConnectorFault("credentials", f"{name}: nothing of its settings is set. Set {variable} and restart")
        return Ready(kind(config), config, record=self._record)

    async def close(self) -> None:
        for ready in self._ready.values():
            await ready.connector.close()
        self._ready.clear()
