"""A connector whose time-outs are far longer than any stall of the machine that runs the tests."""

import sys
from typing import Any

from msgspec.structs import replace

from waterline.connectors.base import Config
from waterline.connectors.registry import make
from waterline.connectors.run import Ready

PATIENCE_S = 60.0


def patient(kind: str, config: Config) -> Ready:
    connector: Any = make(kind, config)
    operations = tuple(replace(one, timeout_s=PATIENCE_S) for one in connector.manifest.operations)
    connector.manifest = replace(connector.manifest, operations=operations)
    module: Any = sys.modules[type(connector).__module__]
    module.TIMEOUT_S = PATIENCE_S
    return Ready(connector, config, at_once=40)
