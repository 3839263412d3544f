"""Voice notes, written down by the route that the flow declares, and then read like what is typed."""

import asyncio
import logging

from msgspec import structs

from waterline.agents.agent import AskFailed
from waterline.agents.talk import Talk
from waterline.core.conversation import Inbound

log = logging.getLogger("waterline.conversations")
MOST_NOTES = 5  # of one turn; more are politely declined
MOST_CHARS = 2000  # of one note
MOST_SHOWN = 300


async def listened(talk: Talk, messages: list[Inbound]) -> list[Inbound]:
    """The messages, with each voice note that could be written down as a text. What cannot stays as it was."""
    if talk.flow.voice is None:
        return messages
    notes = [m for m in messages if m.kind == "audio" and m.media is not None][:MOST_NOTES]
    said = await asyncio.gather(*(_heard(talk, note) for note in notes))
    talk.heard = {note.message_id: text for note, text in zip(notes, said, strict=True) if text}
    return [
        structs.replace(m, kind="text", text=talk.heard[m.message_id]) if m.message_id in talk.heard else m
        for m in messages
    ]


async def _heard(talk: Talk, message: Inbound) -> str:
    voice, languages = talk.flow.voice, talk.flow.languages
    assert voice is not None
    spoken = languages[0] if len(languages) == 1 else ""
    try:
        heard = await talk.tools.hear(voice.route, message, voice.longest_s, spoken)
    except AskFailed as error:
        log.warning("a voice note of conversation %s is not heard: %s", talk.given.conversation, error.reason)
        return ""
    talk.calls += 1
    talk.traces.append(heard.trace)
    return " ".join(heard.text.split())[:MOST_CHARS]


def show(talk: Talk) -> None:
    """What was heard stands above the answer, so that who was misheard sees it and can put it right."""
    for text in talk.heard.values():
        talk.shown.append(f"🎤 “{text[:MOST_SHOWN]}{'…' if len(text) > MOST_SHOWN else ''}”")
    talk.parts += talk.shown
