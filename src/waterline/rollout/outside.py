"""Where an app's models and judges are asked, held against what the operator allows."""

from collections.abc import Mapping

from waterline.core.egress import Egress
from waterline.core.judge import Judge
from waterline.core.release import Route
from waterline.rollout.folder import Folder
from waterline.rollout.routes import FILE
from waterline.rollout.toml_lines import TomlLines


def refuse_addresses(
    folder: Folder,
    lines: TomlLines,
    routes: Mapping[str, Route],
    judges: Mapping[str, Judge],
    egress: Egress,
    addresses: Mapping[str, str],
) -> None:
    """`addresses`: of each provider, for a route that names none."""

    def refused(route: Route) -> tuple[str, str]:
        return egress.refusal(route.base_url or addresses.get(route.provider, ""))

    told = set()
    for name, route in routes.items():
        problem, remedy = refused(route)
        if problem:
            told.add(problem)
            line = lines.line_of("models", name, "base_url" if route.base_url else "provider")
            folder.wrong(FILE, line, f"[models.{name}] {problem}", remedy)
    for name, judge in judges.items():
        problem, remedy = refused(judge.route)
        if problem and problem not in told:  # one that asks a route of the app is told of there
            folder.wrong(f"judges/{name}.md", 0, problem, remedy)
