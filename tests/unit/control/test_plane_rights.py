"""Deny by default: no view and no act of the control plane is reachable without naming the right it needs."""

import ast
import inspect
import textwrap

from waterline.access.roles import Action
from waterline.control.access import AccessDesk
from waterline.control.incidents import IncidentDesk
from waterline.control.load_lines import LoadLineDesk
from waterline.control.plane import Plane
from waterline.control.promotion import Gatekeeper
from waterline.control.traces import TraceDesk


def public_methods() -> dict[str, ast.AsyncFunctionDef]:
    found = {}
    for desk in (Plane, TraceDesk, LoadLineDesk, AccessDesk, Gatekeeper, IncidentDesk):
        tree = ast.parse(textwrap.dedent(inspect.getsource(desk)))
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
                found[f"{desk.__name__}.{node.name}"] = node
    return found


def test_every_public_method_takes_a_principal_and_requires_a_right_before_anything_else():
    methods = public_methods()
    assert len(methods) > 20
    for name, node in methods.items():
        assert node.args.args[1].arg == "who", name
        body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        first = body[0]
        assert isinstance(first, ast.Expr), name
        assert isinstance(first.value, ast.Call), name
        assert isinstance(first.value.func, ast.Name), name
        assert first.value.func.id == "require", f"{name} does something before it checks the right"


def test_every_right_it_names_exists():
    for name, node in public_methods().items():
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "Action":
                assert part.attr in Action.__members__, (name, part.attr)
