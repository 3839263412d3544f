"""What the month will cost, with its interval and what would change it: from traces, and as it was declared."""

from markupsafe import Markup
from msgspec import Struct

from waterline.console.forecast_drawing import Row, month_bar, tornado
from waterline.console.frame import Ask, View
from waterline.evals.forecast import Forecast


class Part(Struct, frozen=True):
    """One forecast as the page draws it. `picture` None: there is too little to say."""

    title: str
    forecast: Forecast
    picture: Markup | None
    rows: list[Row]


async def forecast(ask: Ask) -> View:
    apps = await ask.plane.apps(ask.who)
    wanted = ask.query("app") or (apps[0].name if len(apps) == 1 else "")
    seen = await ask.plane.money.forecast(ask.who, wanted) if wanted else None
    declared = await ask.plane.money.declared_forecast(ask.who, wanted) if wanted else None
    parts = []
    if seen is not None:
        parts.append(_part(f"From the traffic of {seen.month}", seen.forecast))
    if isinstance(declared, Forecast):
        parts.append(_part("As declared, a whole month", declared))
    context = {
        "apps": apps,
        "app": wanted,
        "parts": parts,
        "seen": seen,
        "undeclared": declared if isinstance(declared, str) else "",
        "usd": usd,
    }
    return View("forecast.html", {"forecast": seen, "declared": declared}, context)


def _part(title: str, forecast: Forecast) -> Part:
    rows = tornado(forecast.effects, forecast.month.value, usd) if forecast.month is not None else []
    return Part(title, forecast, month_bar(forecast, usd), rows)


def usd(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}" if value else "0"
