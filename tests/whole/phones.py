"""A simulated WhatsApp as a process of its own, and what people do with their telephones."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from whole_app import request, start

T = TypeVar("T")
NUMBER = "100000000000001"
ANA = "351911000001"


class WhatsAppSim:
    def __init__(self, folder: Path, **script: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "whatsapp.json"
        file.write_text(json.dumps(script))
        command = [sys.executable, "-m", "waterline.channels.simulated", "--port", "0", "--script", str(file)]
        self.child, ready = start(command, dict(os.environ), folder / "whatsapp.log")
        self.address: str = ready["address"]

    def do(self, what: str, **told: Any) -> dict[str, Any]:
        """POST /sim/<what>"""
        status, body = request(self.address, "POST", f"/sim/{what}", json.dumps(told).encode())
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def stats(self) -> dict[str, Any]:
        status, body = request(self.address, "GET", "/sim/stats")
        assert status == 200
        found: dict[str, Any] = json.loads(body)
        return found

    def sent(self) -> list[dict[str, Any]]:
        """What we posted to /messages, oldest first."""
        return [r["body"] for r in self.stats()["requests"]]

    def say(self, text: str = "", who: str = ANA, number: str = NUMBER, **told: Any) -> str:
        given = {"do": "say", "text": text, "number": number} | told
        return str(self.do(f"phones/{who}", **given)["id"])

    def shown(self, who: str = ANA, number: str = NUMBER) -> list[dict[str, Any]]:
        """The chat as the telephone shows it."""
        status, body = request(self.address, "GET", f"/sim/phones/{who}?number={number}")
        assert status == 200
        found: list[dict[str, Any]] = json.loads(body)["chat"]["bubbles"]
        return found

    def replies(self, who: str = ANA, number: str = NUMBER) -> list[str]:
        return [b["text"] for b in self.shown(who, number) if b["ours"]]

    def stop(self) -> None:
        self.child.kill()
        self.child.wait()


def until(look: Callable[[], T], seconds: float = 20.0) -> T:
    """Waits for something to become true; its value."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.05)
