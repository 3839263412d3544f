"""A program that performs one operation and is killed before it hears the answer: python caller.py, JSON on stdin."""

import asyncio
import json
import sys

from waterline.connectors.base import Config, Scope
from waterline.connectors.registry import make
from waterline.connectors.run import Ready, perform


async def main() -> None:
    asked = json.load(sys.stdin)
    config = Config(**asked["config"])
    ready = Ready(make(asked["kind"], config), config)
    result = await perform(
        ready, asked["operation"], asked["arguments"], asked["key"], Scope(**asked["scope"]), confirmed=True
    )
    print(json.dumps(result), flush=True)


asyncio.run(main())
