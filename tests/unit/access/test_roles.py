"""The matrix: declared, complete, and the page that shows it is true."""

from pathlib import Path
from typing import cast

import pytest

from waterline.access.roles import (
    MATRIX,
    PERSON_ROLES,
    Action,
    Principal,
    Role,
    allowed,
    matrix_table,
    require,
    who_may,
)
from waterline.core.errors import PermissionDenied

DATA_PLANE = {Action.DATA_CALL, Action.DATA_FEEDBACK, Action.DATA_INGEST, Action.TOOLS_CALL}
TEXT_OF_USERS = {Action.BODIES_READ, Action.FEEDBACK_READ, Action.TRACE_REPLAY}


def person(role: Role | None) -> Principal:
    return Principal("wl-0a1b2c3d", "person", "Ana", role=role)


APP = Principal("wl-0a1b2c3d", "app", "site", app="school", env="production")


def test_every_action_is_declared_and_somebody_may_do_it() -> None:
    assert set(MATRIX) == set(Action)
    assert all(who_may(action) for action in Action)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("action", list(Action))
def test_require_and_allowed_agree_with_the_declaration(role: Role, action: Action) -> None:
    principal = APP if role is Role.APP else person(role)
    declared = role in MATRIX[action].roles
    assert allowed(role, action) is declared
    if declared:
        require(principal, action)
    else:
        with pytest.raises(PermissionDenied) as caught:
            require(principal, action)
        assert f'"{role}"' in str(caught.value)
        assert f'"{action}"' in str(caught.value)
        assert all(who in str(caught.value) for who in who_may(action) if who is not Role.APP)


def test_the_duties_are_kept_apart() -> None:
    def may(role: Role) -> set[Action]:
        return {action for action in Action if allowed(role, action)}

    assert may(Role.OWNER) == set(Action) - DATA_PLANE
    assert may(Role.APP) == DATA_PLANE
    moves = {Action.ROLLOUT_PROMOTE, Action.ROLLOUT_ROLLBACK, Action.ROLLOUT_PIN, Action.LIMITS_WRITE}
    assert not may(Role.DEVELOPER) & moves
    assert moves <= may(Role.OPERATOR)
    assert Action.RELEASE_BUILD in may(Role.DEVELOPER) - may(Role.OPERATOR)
    assert may(Role.DEVELOPER) >= TEXT_OF_USERS
    assert not TEXT_OF_USERS & (may(Role.OPERATOR) | may(Role.VIEWER))
    said = Action.CONVERSATION_READ
    assert {role for role in Role if said in may(role)} == {Role.OWNER, Role.DEVELOPER, Role.DESK}
    assert may(Role.DESK) - may(Role.VIEWER) == {said, Action.CONVERSATION_TAKE}
    for only_owner in (Action.KEY_CREATE_PERSON, Action.KEY_REVOKE_PERSON, Action.KEY_ASSERT_IDENTITY):
        assert who_may(only_owner) == (Role.OWNER,)
    assert may(Role.VIEWER) < may(Role.OPERATOR)
    assert may(Role.VIEWER) < may(Role.DEVELOPER)
    assert all(action.endswith(".read") for action in may(Role.VIEWER))


@pytest.mark.parametrize("action", list(Action))
def test_what_is_not_declared_is_denied(action: Action) -> None:
    assert not allowed(None, action)
    assert not allowed(Role.OWNER, cast(Action, "no.such"))
    assert not allowed(cast(Role, "admin"), action)
    mixed = Principal("wl-0a1b2c3d", "app", "site", app="school", env="production", role=Role.OWNER)
    for nobody in (person(None), person(Role.APP), mixed):
        with pytest.raises(PermissionDenied):
            require(nobody, action)


def test_the_matrix_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        MATRIX[Action.AUDIT_READ] = MATRIX[Action.DATA_CALL]  # type: ignore[index]


def test_the_reference_page_holds_the_matrix() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/roles.md").read_text(encoding="utf-8")
    assert matrix_table() in page, "copy waterline.access.roles.matrix_table() into docs/reference/roles.md"
    assert all(f"**{role}**" in page for role in PERSON_ROLES)
