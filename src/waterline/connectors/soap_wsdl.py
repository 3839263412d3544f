"""What a WSDL says of the operations that an app names: their arguments and answers as JSON Schema, read offline.

zeep reads the WSDL and writes envelopes. Answers are read here: zeep makes None of a value that is not what its type
says, and writes it to a log, and a caller could not tell that from nothing.
"""

import io
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from waterline.connectors.arguments import is_date
from waterline.connectors.base import BadParameter, ConnectorFault

_DEPTH = 10
_ENVELOPES = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_WHOLE = (
    "integer", "int", "long", "short", "byte", "nonNegativeInteger", "positiveInteger", "negativeInteger",
    "nonPositiveInteger", "unsignedInt", "unsignedLong", "unsignedShort", "unsignedByte",
)  # fmt: skip
Sort = Literal["object", "text", "whole", "number", "yes_no", "date", "time"]
_SORTS: dict[str, Sort] = {
    **dict.fromkeys(_WHOLE, "whole"),
    **dict.fromkeys(("decimal", "double", "float"), "number"),
    "boolean": "yes_no",
    "date": "date",
    "dateTime": "time",
}
_SCHEMAS: dict[Sort, dict[str, Any]] = {
    "text": {"type": "string"},
    "whole": {"type": "integer"},
    "number": {"type": "number"},
    "yes_no": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "date-time"},
}


class Shape(Struct, frozen=True):
    """An element: what may be in it. XML attributes and mixed content are not read."""

    name: str
    sort: Sort
    required: bool = True
    many: bool = False
    inner: tuple["Shape", ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        one = _SCHEMAS.get(self.sort) or object_schema(self.inner)
        return {"type": "array", "items": one} if self.many else one


class Described(Struct, frozen=True):
    name: str
    given: tuple[Shape, ...]
    answer: tuple[Shape, ...]
    about: str = ""


def object_schema(shapes: tuple[Shape, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {one.name: one.schema for one in shapes},
        "required": [one.name for one in shapes if one.required],
        "additionalProperties": False,
    }


class Wsdl:
    """One port of a WSDL. Raises BadParameter if the text is none, or needs another file."""

    def __init__(self, text: str, port: str = "") -> None:
        import zeep
        from lxml.etree import LxmlError
        from zeep.exceptions import Error
        from zeep.transports import Transport

        class Offline(Transport):
            def load(self, url: str) -> Any:
                raise BadParameter("wsdl", f"it needs {url[:200]}", "Put the imported parts into the one file")

        client: Any = zeep.Client  # its types are partly unknown
        offline: Any = Offline
        settings = zeep.Settings(forbid_dtd=True, forbid_entities=True, forbid_external=False)
        try:
            self._client: Any = client(io.BytesIO(text.encode()), transport=offline(), settings=settings)
            self._service = self._port(port)
        except (Error, LxmlError, ValueError, KeyError, AttributeError, TypeError) as error:
            if isinstance(error, BadParameter):
                raise
            raise BadParameter(
                "wsdl", f"it is no WSDL ({type(error).__name__})", "Save what URL?wsdl answers"
            ) from None

    def _port(self, port: str) -> Any:
        ports = {name: service for service in self._client.wsdl.services.values() for name in service.ports}
        if not ports:
            raise ValueError
        name = port or next(iter(ports))
        if name not in ports:
            raise BadParameter("port", f'the WSDL has no port "{name}"', f"There are: {', '.join(ports)}")
        return self._client.bind(ports[name].name, name)

    @property
    def _operations(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._service._binding._operations
        return found

    def described(self, names: tuple[str, ...]) -> dict[str, Described]:
        operations = self._operations
        found = {}
        for name in names:
            if name not in operations:
                known = ", ".join(sorted(operations))[:300]
                raise BadParameter("operations", f'the WSDL has no operation "{name}"', f"There are: {known}")
            operation = operations[name]
            about = (operation.abstract.documentation or "") if hasattr(operation.abstract, "documentation") else ""
            given, answer = _shapes(_body(operation.input)), _shapes(_body(operation.output))
            found[name] = Described(name, given, answer, about.strip())
        return found

    def envelope(self, name: str, given: Mapping[str, Any], sign: Callable[[Any], Any]) -> tuple[bytes, dict[str, str]]:
        """The request's bytes and headers. `sign` may add to the header of the envelope."""
        from lxml import etree

        made = sign(self._client.create_message(self._service, name, **given))
        action = self._operations[name].soapaction or ""
        if etree.QName(made).namespace == _ENVELOPES[1]:
            headers = {"content-type": f'application/soap+xml; charset=utf-8; action="{action}"'}
        else:
            headers = {"content-type": "text/xml; charset=utf-8", "soapaction": f'"{action}"'}
        headers["accept"] = "text/xml, application/soap+xml"
        return bytes(etree.tostring(made, xml_declaration=True, encoding="utf-8")), headers


def _body(message: Any) -> Any:
    return getattr(message.body, "type", None) if message is not None and message.body is not None else None


def _shapes(kind: Any, depth: int = 0) -> tuple[Shape, ...]:
    from zeep.xsd.elements import Choice
    from zeep.xsd.elements.indicators import Indicator

    if depth > _DEPTH:
        raise BadParameter("wsdl", f"a type is nested deeper than {_DEPTH}", "Such operations cannot be offered")
    found: list[Shape] = []
    waiting: list[tuple[Any, bool]] = [
        (part, isinstance(part, Choice)) for _, part in getattr(kind, "elements_nested", ())
    ]
    while waiting:
        part, chosen = waiting.pop(0)
        if isinstance(part, Indicator):
            may_miss = chosen or isinstance(part, Choice) or part.min_occurs == 0
            parts: Any = part
            waiting = [(one, may_miss) for one in parts] + waiting
        elif hasattr(part, "type") and part.name:
            found.append(_shape(part, chosen, depth))
    return tuple(found)


def _shape(element: Any, chosen: bool, depth: int) -> Shape:
    required = not (chosen or element.is_optional or element.nillable)
    many = bool(element.accepts_multiple)
    inner = _shapes(element.type, depth + 1)
    if inner:
        return Shape(element.name, "object", required, many, inner)
    return Shape(element.name, _sort(element.type), required, many)


def _sort(kind: Any) -> Sort:
    """By the built-in type that it is or restricts."""
    for one in type(kind).__mro__:
        name = getattr(getattr(one, "_default_qname", None), "localname", None)
        if name in _SORTS:
            return _SORTS[name]
    return "text"


# --- answers -------------------------------------------------------------------------------------------------------


class Fault(Struct, frozen=True):
    code: str
    text: str


def answered(body: bytes, described: Described) -> dict[str, Any] | Fault:
    """What came back. Raises ConnectorFault: data (no XML, or a value that is not what its type says), schema."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise ConnectorFault("data", f"{described.name}: the answer is no XML.") from None
    if root.getroottree().docinfo.doctype:
        raise ConnectorFault("data", f"{described.name}: the answer has a document type, which is not read.")
    space = next((s for s in _ENVELOPES if root.tag == f"{{{s}}}Envelope"), None)
    content = root.find(f"{{{space}}}Body") if space else None
    if content is None:
        raise ConnectorFault("schema", f"{described.name}: the answer is no SOAP envelope. Is the url still right?")
    first = next((child for child in content if isinstance(child.tag, str)), None)
    if first is None:
        return {}
    if first.tag == f"{{{space}}}Fault":
        return _fault(first)
    return _plain(_children(first, described.answer, described.name), described.answer)


def _fault(element: Any) -> Fault:
    said: dict[str, str] = {}
    for child in element.iter():
        if isinstance(child.tag, str):
            said.setdefault(child.tag.rpartition("}")[2], (child.text or "").strip())
    codes = [c.text or "" for c in element.iter() if isinstance(c.tag, str) and c.tag.endswith(("faultcode", "}Value"))]
    return Fault(" ".join(codes), said.get("faultstring") or said.get("Text") or "")


def _plain(found: dict[str, Any], shapes: tuple[Shape, ...]) -> dict[str, Any]:
    """Without the wrapper that SOAP puts around one result."""
    if len(shapes) != 1:
        return found
    value = found.get(shapes[0].name)
    if isinstance(value, list):
        return {"items": value}
    return value if isinstance(value, dict) else {} if value is None else {"value": value}


def _children(element: Any, shapes: tuple[Shape, ...], path: str) -> dict[str, Any]:
    known = {one.name: one for one in shapes}
    found: dict[str, Any] = {}
    for child in element:
        if not isinstance(child.tag, str):
            continue
        name = child.tag.rpartition("}")[2]
        shape = known.get(name)
        if shape is None:
            raise ConnectorFault("schema", f"{path}: the answer has {name}, which the WSDL has not.")
        value = _value(child, shape, f"{path}.{name}")
        if shape.many:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    for one in shapes:
        if one.name not in found:
            if one.required:
                raise ConnectorFault("schema", f"{path}: the answer has no {one.name}, which the WSDL promises.")
            found[one.name] = [] if one.many else None
    return found


def _value(element: Any, shape: Shape, path: str) -> Any:
    if element.get(_NIL) in ("true", "1"):
        return None
    if shape.sort == "object":
        found = _children(element, shape.inner, path)
        return found[shape.inner[0].name] if len(shape.inner) == 1 and shape.inner[0].many else found
    text = element.text or ""
    if shape.sort == "text":
        return text
    if not text.strip() and not shape.required:
        return None
    try:
        return _read(text.strip(), shape.sort)
    except (ValueError, ArithmeticError):
        raise ConnectorFault("data", f"{path} is no {shape.sort.replace('_', ' or ')}. Correct it there.") from None


def _read(text: str, sort: Sort) -> Any:
    import isodate

    match sort:
        case "whole":
            return int(text)
        case "number":
            number = Decimal(text)
            if not number.is_finite():
                raise ValueError
            return str(number)  # money is not a float
        case "yes_no":
            return {"true": True, "1": True, "false": False, "0": False}[text] if text in _YES_NO else _not()
        case "date":
            day = re.sub(r"(Z|[+-]\d\d:\d\d)\Z", "", text)
            return day if is_date(day) else _not()
        case _:
            return isodate.parse_datetime(text).isoformat()


_YES_NO = ("true", "1", "false", "0")


def _not() -> Any:
    raise ValueError
