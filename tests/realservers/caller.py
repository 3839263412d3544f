"""A program that performs one operation and is killed before it hears the answer: python caller.py, JSON on stdin."""

import asyncio
import json
import sys

from realservers.patient import patient
from waterline.connectors.base import Config, Scope
from waterline.connectors.run import perform


async def main() -> None:
    asked = json.load(sys.stdin)
    config = Config(**asked["config"])
    ready = patient(asked["kind"], config)
    result = await perform(
        ready, asked["operation"], asked["arguments"], asked["key"], Scope(**asked["scope"]), confirmed=True
    )
    print(json.dumps(result), flush=True)


asyncio.run(main())
