"""`/api/subjects`: all that is kept of a person, shown or erased."""

from typing import Any

from waterline.api.ask import Ask, Resource
from waterline.control.erasure import ErasureBody
from waterline.control.subject_export import ExportBody


async def erase(ask: Ask) -> Any:
    return await ask.plane.erasure.erase(ask.who, await ask.body(ErasureBody))


async def export(ask: Ask) -> Any:
    return await ask.plane.subject_export.page(ask.who, await ask.body(ExportBody))


RESOURCES = [
    Resource("POST", "/subjects/erasure", erase),
    Resource("POST", "/subjects/export", export),
]
