"""Every page of the console, with the Action it needs. What is not in this table does not exist."""

from collections.abc import Callable, Sequence
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from waterline.access.keys import KeyRing
from waterline.access.roles import Action
from waterline.access.sessions import Sessions, StoredSessions
from waterline.console import (
    audit_pages,
    behaviour_pages,
    budget_pages,
    canary_pages,
    case_pages,
    channel_pages,
    conversation_pages,
    coverage_pages,
    experiment_pages,
    forecast_pages,
    gate_pages,
    incident_pages,
    judge_pages,
    key_pages,
    load_line_pages,
    overview,
    people_pages,
    provider_pages,
    release_pages,
    review_pages,
    shadow_pages,
    trace_pages,
)
from waterline.console.frame import Frame, Page, SecurityHeaders
from waterline.console.login import login_page, logout, sign_in
from waterline.control.plane import Plane
from waterline.core.errors import RateLimited
from waterline.settings import Settings
from waterline.store.db import Store, StoreUnavailable

PAGES: tuple[Page, ...] = (
    Page("GET", "/", Action.OVERVIEW_READ, overview.overview),
    Page("GET", "/providers", Action.OVERVIEW_READ, provider_pages.providers),
    Page("GET", "/budgets", Action.OVERVIEW_READ, budget_pages.budgets),
    Page("GET", "/channels", Action.OVERVIEW_READ, channel_pages.channels),
    Page("GET", "/channels/fees", Action.OVERVIEW_READ, channel_pages.fees),
    Page("GET", "/forecast", Action.OVERVIEW_READ, forecast_pages.forecast),
    Page("GET", "/traces", Action.TRACES_READ, trace_pages.traces),
    Page("GET", "/traces/{trace}", Action.TRACES_READ, trace_pages.trace),
    Page("GET", "/traces/{trace}/request", Action.BODIES_READ, trace_pages.request_body),
    Page("GET", "/traces/{trace}/answer", Action.BODIES_READ, trace_pages.answer_body),
    Page("POST", "/traces/{trace}/replay", Action.TRACE_REPLAY, trace_pages.replay),
    Page("GET", "/behaviour", Action.OVERVIEW_READ, behaviour_pages.behaviour),
    Page("GET", "/behaviour/off-rails", Action.TRACES_READ, behaviour_pages.off_rails),
    Page("GET", "/conversations", Action.CONVERSATION_LIST, conversation_pages.conversations),
    Page("GET", "/conversations/{conversation}", Action.CONVERSATION_LIST, conversation_pages.conversation),
    Page("POST", "/conversations/{conversation}/takeover", Action.CONVERSATION_TAKE, conversation_pages.take),
    Page("POST", "/conversations/{conversation}/replies", Action.CONVERSATION_TAKE, conversation_pages.reply),
    Page("POST", "/conversations/{conversation}/resumption", Action.CONVERSATION_TAKE, conversation_pages.resume),
    Page("GET", "/handoffs", Action.CONVERSATION_LIST, conversation_pages.queue),
    Page("GET", "/funnel", Action.CONVERSATION_LIST, conversation_pages.funnel),
    Page("GET", "/bookings", Action.CONVERSATION_LIST, conversation_pages.acts),
    Page("GET", "/releases", Action.ROLLOUT_READ, release_pages.releases),
    Page("GET", "/releases/{release}", Action.RELEASE_READ, release_pages.release),
    Page("GET", "/releases/{release}/manifest", Action.RELEASE_READ, release_pages.manifest),
    Page("GET", "/releases/{release}/diff", Action.RELEASE_READ, release_pages.choose_diff),
    Page("GET", "/releases/{a}/diff/{b}", Action.RELEASE_READ, release_pages.diff),
    Page("POST", "/releases/{release}/promotion", Action.ROLLOUT_PROMOTE, release_pages.promote),
    Page("POST", "/releases/{release}/approvals", Action.ROLLOUT_APPROVE, gate_pages.approve),
    Page("POST", "/releases/{release}/approvals/withdrawal", Action.ROLLOUT_APPROVE, gate_pages.withdraw),
    Page("GET", "/incidents", Action.INCIDENT_READ, incident_pages.incidents),
    Page("POST", "/incidents", Action.INCIDENT_OPEN, incident_pages.open_incident),
    Page("GET", "/incidents/{incident}", Action.INCIDENT_READ, incident_pages.incident),
    Page("POST", "/incidents/{incident}/closure", Action.INCIDENT_CLOSE, incident_pages.close_incident),
    Page("POST", "/apps/{app}/rollback", Action.ROLLOUT_ROLLBACK, release_pages.roll_back),
    Page("POST", "/apps/{app}/pins", Action.ROLLOUT_PIN, release_pages.pin),
    Page("POST", "/apps/{app}/pins/removal", Action.ROLLOUT_PIN, release_pages.unpin),
    Page("GET", "/load-lines", Action.LOAD_LINE_READ, load_line_pages.load_lines),
    Page("GET", "/load-lines/{line}", Action.LOAD_LINE_READ, load_line_pages.load_line),
    Page("GET", "/load-lines/{line}/report", Action.LOAD_LINE_READ, load_line_pages.report),
    Page("GET", "/load-lines/{line}/json", Action.LOAD_LINE_READ, load_line_pages.as_json),
    Page("GET", "/experiments", Action.EXPERIMENT_READ, experiment_pages.experiments),
    Page("GET", "/experiments/{experiment}", Action.EXPERIMENT_READ, experiment_pages.experiment),
    Page("GET", "/experiments/{experiment}/cases/{ordinal}", Action.BODIES_READ, experiment_pages.case),
    Page("GET", "/canaries", Action.ROLLOUT_READ, canary_pages.canaries),
    Page("POST", "/canaries", Action.ROLLOUT_PROMOTE, canary_pages.start),
    Page("GET", "/canaries/{canary}", Action.ROLLOUT_READ, canary_pages.canary),
    Page("POST", "/canaries/{canary}/end", Action.ROLLOUT_ROLLBACK, canary_pages.end),
    Page("GET", "/cases", Action.CASE_LIST, case_pages.sets),
    Page("GET", "/cases/{app}/{set}", Action.CASE_LIST, case_pages.one_set),
    Page("GET", "/cases/{app}/{set}/diff/{a}/{b}", Action.CASE_LIST, case_pages.diff),
    Page("GET", "/cases/{app}/{set}/{case}", Action.CASE_READ, case_pages.case),
    Page("GET", "/coverage", Action.CASE_READ, coverage_pages.coverage),
    Page("POST", "/coverage", Action.CASE_READ, coverage_pages.measure),
    Page("GET", "/review", Action.CASE_READ, review_pages.queue),
    Page("POST", "/review/next", Action.CASE_REVIEW, review_pages.take_next),
    Page("GET", "/review/{candidate}", Action.CASE_READ, review_pages.candidate),
    Page("POST", "/review/{candidate}/decision", Action.CASE_REVIEW, review_pages.decide),
    Page("GET", "/shadows", Action.ROLLOUT_READ, shadow_pages.shadows),
    Page("POST", "/shadows", Action.ROLLOUT_PROMOTE, shadow_pages.start),
    Page("GET", "/shadows/{shadow}", Action.ROLLOUT_READ, shadow_pages.shadow),
    Page("POST", "/shadows/{shadow}/end", Action.ROLLOUT_ROLLBACK, shadow_pages.end),
    Page("GET", "/judges", Action.JUDGE_READ, judge_pages.judges),
    Page("GET", "/judges/{app}/{judge}", Action.JUDGE_READ, judge_pages.judge),
    Page("GET", "/judges/{app}/{judge}/label", Action.JUDGE_LABEL, judge_pages.label_page),
    Page("POST", "/judges/{app}/{judge}/label", Action.JUDGE_LABEL, judge_pages.label),
    Page("POST", "/judges/{app}/{judge}/samples", Action.JUDGE_LABEL, judge_pages.sample),
    Page("POST", "/judges/{app}/{judge}/runs", Action.JUDGE_CALIBRATE, judge_pages.run),
    Page("POST", "/judges/{app}/{judge}/calibrations", Action.JUDGE_CALIBRATE, judge_pages.calibrate),
    Page("GET", "/keys", Action.KEY_READ, key_pages.keys),
    Page("POST", "/keys/app", Action.KEY_CREATE_APP, key_pages.create_app_key),
    Page("POST", "/keys/personal", Action.KEY_CREATE_PERSON, key_pages.create_personal_key),
    Page("POST", "/keys/{key}/revocation", Action.KEY_REVOKE, key_pages.revoke),
    Page("GET", "/people", Action.KEY_READ, people_pages.people),
    Page("POST", "/people", Action.KEY_CREATE_PERSON, people_pages.apply),
    Page("GET", "/audit", Action.AUDIT_READ, audit_pages.audit),
    Page("GET", "/audit/export", Action.AUDIT_READ, audit_pages.export),
)

OPEN = ("/login", "/logout", "/static")  # what a stranger may reach


def console_app(
    plane: Plane,
    keys: KeyRing,
    store: Store,
    settings: Settings,
    clock_us: Callable[[], int],
    routes: Sequence[BaseRoute],
) -> Starlette:
    """Serves all that is not /v1, health or metrics: the pages, and `routes`, those of /api."""
    sessions = Sessions(
        StoredSessions(store), keys, settings.master_key, clock_us,
        hours=settings.session_hours, idle_hours=settings.session_idle_hours,
    )  # fmt: skip
    frame = Frame(plane, keys, sessions, settings, clock_us)
    return Starlette(
        routes=[
            *routes,
            *(Route(page.path, frame.endpoint(page), methods=[page.method]) for page in PAGES),
            Route("/login", login_page(frame), methods=["GET"]),
            Route("/login", sign_in(frame), methods=["POST"]),
            Route("/logout", logout(frame), methods=["POST"]),
            Mount("/static", _Static(directory=str(resources.files("waterline.console").joinpath("static")))),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={
            HTTPException: frame.http_error,
            RateLimited: frame.too_often,
            StoreUnavailable: frame.not_stored,
            Exception: frame.crash,
        },
    )


class _Static(StaticFiles):
    """Asked again each time, answered "not modified" (304) unless it has changed."""

    def file_response(self, full_path, stat_result, scope: Scope, status_code: int = 200) -> Response:  # type: ignore[no-untyped-def]
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response
