"""[canary] and [shadow] of app.toml."""

from collections.abc import Mapping

from waterline.core.canary import Canary, Shadow, basis_points
from waterline.core.judge import Judge
from waterline.core.rollout import FULL_BP
from waterline.rollout.environment import AppToml, in_nano
from waterline.rollout.routes import FILE

_MOST_STEPS = 20


def read_canary(app: AppToml, judges: Mapping[str, Judge]) -> Canary:
    values = in_nano(app.read("canary"))
    place = app.place("canary")
    good, last = True, 0
    for number, step in enumerate(values.get("steps", ())):
        line = app.lines.line_of("canary", "steps", number)
        try:
            bp = basis_points(step)
        except ValueError as error:
            app.folder.wrong(FILE, line, f"[canary] steps: {error}", 'Write steps = ["5%", "25%", "50%", "100%"]')
            good = False
            continue
        if bp <= last:
            app.folder.wrong(FILE, line, f'[canary] steps: "{step}" is no more than the step before', "Let them rise")
            good = False
        last = bp
    if "steps" in values and not values["steps"]:
        place.wrong("steps", "there is no step", 'Write steps = ["5%", "25%", "50%", "100%"]')
        good = False
    elif good and "steps" in values and last != FULL_BP:
        place.wrong("steps", f'the last step is "{values["steps"][-1]}"', 'Let the last one be "100%"')
        good = False
    if len(values.get("steps", ())) > _MOST_STEPS:
        place.wrong("steps", f"there are more than {_MOST_STEPS} steps", "Leave some out: each takes part of alpha")
        good = False
    if not good:
        values.pop("steps")
    _quality(app, values.get("quality", ()), judges)
    objectives = app.table.get("objectives", {})
    timed = isinstance(objectives, dict) and ({"answer_ms_p95", "ttft_ms_p95"} & set(objectives))
    if "slow_margin" in values and not timed:
        place.wrong(
            "slow_margin", "no latency is declared that an answer could be slower than",
            "Write answer_ms_p95 or ttft_ms_p95 in [objectives]",
        )  # fmt: skip
    if "cost_margin" in values and "nano_usd_per_request" not in values:
        problem = "no cap is declared that a request's cost could be measured by"
        place.wrong("cost_margin", problem, "Write usd_per_request: what a dear request costs")
    return Canary(**values)


def _quality(app: AppToml, names: tuple[str, ...], judges: Mapping[str, Judge]) -> None:
    for number, name in enumerate(names):
        line = app.lines.line_of("canary", "quality", number)
        if not name.strip():
            app.folder.wrong(FILE, line, "[canary] quality: a name is empty", 'Write quality = ["feedback"]')
        elif name == "judge" or name.startswith("judge."):
            judge = judges.get(name.removeprefix("judge.")) if name != "judge" else None
            if judge is None:
                problem = f'[canary] quality: there is no judge of the name "{name}"'
                app.folder.wrong(FILE, line, problem, 'Write "judge." and the name of a file in judges/')
            elif not judge.sample:
                problem = f'[canary] quality: "{name}" looks at no live answer, so the canary would wait for ever'
                app.folder.wrong(FILE, line, problem, "Give the judge a sample")
        elif name in names[:number]:
            app.folder.wrong(FILE, line, f'[canary] quality: "{name}" is there twice', "Remove one of them")


def read_shadow(app: AppToml) -> Shadow:
    return Shadow(**in_nano(app.read("shadow")))
