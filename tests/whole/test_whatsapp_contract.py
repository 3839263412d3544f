"""What we send to WhatsApp, and what the simulated one says, against Meta's OpenAPI description: neither may drift.

The description is not ours to ship: it is in $SHARED_TEST_DATA, else in ../shared/data beside the repository.
Where the description contradicts the API itself, `Contract` says so and reads it as it is meant."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from phones import ANA, NUMBER, WhatsAppSim

from waterline.channels.base import SendFault
from waterline.channels.graph import Graph, GraphAccess
from waterline.channels.simulated.cloud import Cloud
from waterline.channels.simulated.script import default_script
from waterline.channels.simulated.server import hook_body
from waterline.channels.whatsapp_render import payloads
from waterline.core.conversation import Choice, Media, Outbound, Template

DATA = Path(os.environ.get("SHARED_TEST_DATA") or Path(__file__).parents[3] / "shared/data")
SPEC = DATA / "whatsapp/business-messaging-api_v23.0.yaml"
described = pytest.mark.skipif(not SPEC.exists(), reason=f"{SPEC} is not here")
OURS = ("biz_opaque_callback_data", "recipient")  # newer than the description: in the API's own reference
INCOMING = {
    "text": "TextMessage_2", "image": "ImageMessage_1", "audio": "AudioMessage_1", "document": "DocumentMessage_1",
    "sticker": "StickerMessage_1", "video": "VideoMessage_1", "location": "LocationMessage_1",
    "contacts": "ContactSharingMessage", "reaction": "ReactionMessage_1", "button": "ButtonMessage",
    "interactive": "InteractiveMessageReply", "order": "OrderMessage", "system": "SystemMessage",
    "unsupported": "UnsupportedMessage",
}  # fmt: skip


class Contract:
    """Three places are read as meant:
    * `allOf` of the common properties and a closed object (additionalProperties: false) allows nothing at all: the
      members are joined first, and the joined object is closed;
    * a message in a web hook is said to need the sender's fields (messaging_product, to ...), which no web hook has:
      they are left out;
    * a button's and a row's `title` is required and not described: any text."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.schemas: dict[str, Any] = spec["components"]["schemas"]

    def errors(self, schema: dict[str, Any], value: Any) -> list[str]:
        import jsonschema

        whole = self._closed(schema) | {
            "components": {"schemas": {n: self._closed(s) for n, s in self.schemas.items()}}
        }
        found = jsonschema.Draft202012Validator(whole).iter_errors(value)
        return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in found]

    def sent(self, payload: dict[str, Any]) -> list[str]:
        known = {k: v for k, v in payload.items() if k not in OURS}
        if "recipient" in payload:
            known["to"] = payload["recipient"]
        name = self.schemas["Message"]["discriminator"]["mapping"][payload["type"]].rpartition("/")[2]
        return self.errors(self.schemas[name], known)

    def heard(self, hook: dict[str, Any]) -> list[str]:
        found = []
        for change in (c for e in hook["entry"] for c in e["changes"] if c["field"] == "messages"):
            value = change["value"]
            found += self.errors(self.schemas["Metadata"], value["metadata"])
            for contact in value.get("contacts", []):
                found += self.errors(self.schemas["ContactProfile"], contact)
            for message in value.get("messages", []):
                own = self.schemas[INCOMING[message["type"]]]["allOf"][1]
                found += self.errors(own, message)
            for status in value.get("statuses", []):
                found += self.errors(self.schemas["Statuses"], status)
        return found

    def answer(self, path: str, method: str, value: Any, status: str = "200") -> list[str]:
        answers = self.spec["paths"][path][method]["responses"][status]["content"]
        return self.errors(answers["application/json"]["schema"], value)

    def _closed(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._closed(s) for s in schema]
        if not isinstance(schema, dict):
            return schema
        parts = schema.get("allOf")
        if parts and any(isinstance(p, dict) and p.get("additionalProperties") is False for p in parts):
            joined: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
            for part in parts:
                own = self.schemas[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
                joined["properties"] |= own.get("properties", {})
                joined["required"] += own.get("required", [])
            return self._closed(joined)
        return {k: self._closed(v) for k, v in schema.items() if k not in ("example", "examples", "discriminator")}


@pytest.fixture(scope="module")
def contract() -> Contract:
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("jsonschema")
    return Contract(yaml.load(SPEC.read_text(), Loader=yaml.CSafeLoader))


@pytest.fixture(scope="module")
def whatsapp(tmp_path_factory) -> Iterator[WhatsAppSim]:
    sim = WhatsAppSim(tmp_path_factory.mktemp("whatsapp"))
    yield sim
    sim.stop()


def access(sim: WhatsAppSim, token: str = "simulated-token") -> GraphAccess:
    return GraphAccess(sim.address, token)


ROWS = tuple(Choice(f"r{n}", f"Row {n}", "with more") for n in range(10))
EVERY = [
    Outbound("Hello"),
    Outbound("Hello", reply_to="wamid.1"),
    Outbound("A long text. " * 900),
    Outbound("Which?", (Choice("a", "One"), Choice("b", "Two"), Choice("c", "Three"))),
    Outbound("Which? " * 400, ROWS),
    Outbound(template=Template("visit_reminder", "pt_PT", ("Ana", "24/11 10:30"))),
    Outbound(template=Template("hello_world", "en_US")),
]


@described
@pytest.mark.parametrize("message", EVERY)
def test_every_message_of_ours_is_one_that_meta_describes(contract: Contract, message: Outbound) -> None:
    for payload in payloads("+351911000001", message, "c/1/reply"):
        assert contract.sent(payload) == []


@described
def test_the_check_can_fail(contract: Contract) -> None:
    [good] = payloads("+351911000001", Outbound("Hello"), "k")
    assert contract.sent(good | {"text": {"body": 3}})
    assert contract.sent(good | {"unheard_of": 1})
    assert contract.sent({k: v for k, v in good.items() if k != "to"})
    [listed] = payloads("+351911000001", Outbound("Which?", ROWS), "k")
    listed["interactive"]["action"]["sections"][0]["rows"][0].pop("title")
    assert contract.sent(listed)


@described
def test_every_web_hook_of_the_simulated_api_is_one_that_meta_describes(contract: Contract) -> None:
    script = default_script()
    script.webhook = "http://127.0.0.1:1/"
    script.deliveries.batch = 5
    now = [1_795_000_000.0]
    cloud = Cloud(script, lambda: now[0])
    media = {"id": "m", "mime_type": "image/png", "sha256": "x"}
    said: list[dict[str, Any]] = [
        {"type": "text", "text": {"body": "hi"}},
        {"type": "image", "image": media},
        {"type": "audio", "audio": media | {"voice": True}},
        {"type": "document", "document": media | {"filename": "a.pdf"}},
        {"type": "sticker", "sticker": media | {"animated": False}},
        {"type": "location", "location": {"latitude": 1.5, "longitude": 2.5, "name": "n", "address": "a"}},
        {"type": "reaction", "reaction": {"message_id": "w", "emoji": "👍"}},
        {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "a", "title": "A"}},
         "context": {"from": "1", "id": "w"}},
    ]  # fmt: skip
    for message in said:
        cloud.say(ANA, NUMBER, message)
    for message in (Outbound("Hello"), EVERY[3], EVERY[5]):
        cloud.send(NUMBER, payloads(f"+{ANA}", message, "key")[0])
    cloud.send(NUMBER, payloads("+34611000003", Outbound("nobody wrote"), "key")[0])  # fails: no window
    cloud.change_number(ANA, "351911999999")
    now[0] += 60
    hook = json.loads(hook_body(cloud.due()))
    assert contract.errors({"$ref": "#/components/schemas/Entry/properties/id"}, hook["entry"][0]["id"]) == []
    kinds = [c["value"] for c in hook["entry"][0]["changes"]]
    assert sum("statuses" in k for k in kinds) >= 10
    assert sum("messages" in k for k in kinds) >= 9
    assert contract.heard(hook) == []
    assert any(s["status"] == "failed" for k in kinds for s in k.get("statuses", []))


@described
def test_the_answers_of_the_simulated_api_are_those_that_meta_describes(
    contract: Contract, whatsapp: WhatsAppSim
) -> None:
    whatsapp.say("hello")

    async def main() -> None:
        graph = Graph(access(whatsapp))
        try:
            [payload] = payloads(f"+{ANA}", Outbound("Hello"), "k1")
            sent = await graph.json("POST", f"/{NUMBER}/messages", payload)
            assert contract.answer("/{Version}/{Phone-Number-ID}/messages", "post", sent) == []
            found = await graph.json("GET", "/200000000000001/message_templates?limit=10")
            assert contract.answer("/{Version}/{WABA-ID}/message_templates", "get", found) == []
            numbers = await graph.json("GET", "/200000000000001/phone_numbers")
            assert contract.answer("/{Version}/{WABA-ID}/phone_numbers", "get", numbers) == []
            about = await graph.json("GET", f"/{NUMBER}")
            assert contract.answer("/{Version}/{Phone-Number-ID}", "get", about) == []
            media = await graph.upload(NUMBER, "image", "image/png", 'my "photo".png', b"\x89PNG" * 100)
            told = await graph.json("GET", f"/{media}")
            assert contract.answer("/{Version}/{Media-ID}", "get", told) == []
            data, mime = await graph.download(Media(media), 1000)
            assert (data, mime) == (b"\x89PNG" * 100, "image/png")
            with pytest.raises(SendFault, match="at most 10"):
                await graph.download(Media(media), 10)
        finally:
            graph.close()

    asyncio.run(main())


@described
def test_an_error_of_the_simulated_api_has_the_shape_that_meta_describes(
    contract: Contract, whatsapp: WhatsAppSim
) -> None:
    from whole_app import request

    status, body = request(whatsapp.address, "GET", "/v23.0/nothing")
    assert status == 401
    assert contract.errors(contract.schemas["GraphAPIError"], json.loads(body)) == []


def test_a_file_that_is_kept_elsewhere_is_not_fetched(whatsapp: WhatsAppSim) -> None:
    """Egress goes only to what is declared, wherever an answer points."""

    async def main() -> None:
        graph = Graph(access(whatsapp))
        try:
            media = await graph.upload(NUMBER, "image", "image/png", "a.png", b"x")
            real = graph.json

            async def elsewhere(method: str, path: str, *rest: Any, **more: Any) -> dict[str, Any]:
                return (await real(method, path, *rest, **more)) | {"url": "http://169.254.169.254/latest"}

            graph.json = elsewhere  # type: ignore[method-assign]
            with pytest.raises(SendFault, match="not declared"):
                await graph.download(Media(media), 1000)
        finally:
            graph.close()

    asyncio.run(main())


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(whatsapp: WhatsAppSim) -> None:
    async def main() -> None:
        graph = Graph(access(whatsapp))
        with pytest.raises(SendFault, match="Shrink it"):
            await graph.upload(NUMBER, "sticker", "image/webp", "a.webp", b"x" * (600 << 10))
        graph.close()

    asyncio.run(main())


def test_a_wrong_token_names_the_setting_and_not_the_token(whatsapp: WhatsAppSim) -> None:
    async def main() -> None:
        graph = Graph(access(whatsapp, "very secret"))
        with pytest.raises(SendFault, match="WATERLINE_WHATSAPP_TOKEN") as caught:
            await graph.send(NUMBER, payloads(f"+{ANA}", Outbound("Hello"), "k")[0])
        assert caught.value.kind == "number_stopped"
        assert "very secret" not in str(caught.value)
        graph.close()

    asyncio.run(main())
