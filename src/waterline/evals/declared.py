"""The inputs of a forecast before the pilot: what a folder declares, and what its release tells of the prompt."""

from waterline.core.app_spec import AppSpec
from waterline.core.prices import PriceTable
from waterline.core.release import Release, Route
from waterline.evals.forecast import Assumption, Declared

CHARACTERS_PER_TOKEN = 4.0  # of English prose; more tokens for other languages: that is what prompt_within is for
DEFAULT_ANSWER = 200.0


class NotDeclared(ValueError):
    """What is missing for a forecast, and where to write it."""


def main_route(release: Release, name: str = "") -> str:
    """The route asked for, else `main`, else the first that no other falls back to."""
    if name:
        if name not in release.routes:
            raise NotDeclared(f'there is no route "{name}". Routes: {", ".join(release.routes)}')
        return name
    spares = {f for route in release.routes.values() for f in route.fallbacks}
    chat = [n for n, route in release.routes.items() if not route.embeddings]
    first = next((n for n in chat if n not in spares), "")
    if not first:
        raise NotDeclared("the release has no route that answers chats")
    return "main" if "main" in chat else first


def declared_of(release: Release, spec: AppSpec, prices: PriceTable, now_us: int, route: str = "") -> Declared:
    """Raises NotDeclared."""
    name = main_route(release, route)
    chosen, goals, expected = release.routes[name], spec.objectives, spec.forecast
    if goals.monthly_conversations is None:
        raise NotDeclared("app.toml declares no volume. Write monthly_conversations under [objectives]")
    price = prices.find(chosen.provider, chosen.model, now_us)
    if price is None:
        what = f'{chosen.provider} "{chosen.model}"'
        raise NotDeclared(f"no price is known for {what}, and unpriced is not zero. Add a [[price]] to prices.toml")
    prompt = release.prompts.get(chosen.prompt)
    characters = len(prompt.text) if prompt is not None else 0
    answer, source = _answer(chosen, expected.answer_tokens)
    other = _cheapest_other(release, prices, now_us, chosen)
    return Declared(
        volume=Assumption(
            "conversations a month", goals.monthly_conversations, expected.volume_within, "", "[objectives]"
        ),
        turns=Assumption(
            "turns a conversation", goals.turns_per_conversation, expected.turns_within, "", "[objectives]"
        ),
        fixed=Assumption(
            "prompt", characters / CHARACTERS_PER_TOKEN, expected.prompt_within, "tokens",
            f"prompts/{chosen.prompt}.md, {characters:,} characters" if characters else f"route {name} has no prompt",
        ),
        question=Assumption("question", expected.question_tokens, expected.question_within, "tokens", "[forecast]"),
        answer=Assumption("answer", answer, expected.answer_within, "tokens", source),
        retrieved=expected.retrieved_tokens,
        calls=expected.calls_per_turn,
        cached=expected.cached_share,
        price=price,
        other=None if other is None else prices.find(other.provider, other.model, now_us),
        other_name=other.model if other is not None else "",
    )  # fmt: skip


def _answer(route: Route, given: float | None) -> tuple[float, str]:
    if given is not None:
        return given, "[forecast]"
    if route.max_tokens:
        return route.max_tokens / 2.0, f"half of max_tokens = {route.max_tokens}"
    return DEFAULT_ANSWER, "default; write answer_tokens under [forecast]"


def _cheapest_other(release: Release, prices: PriceTable, now_us: int, chosen: Route) -> Route | None:
    """The cheapest other model of the release, if it is cheaper."""

    def cost(route: Route) -> int | None:
        price = prices.find(route.provider, route.model, now_us)
        return None if price is None else price.input + price.output

    here = cost(chosen)
    others = [
        (c, n, r)
        for n, r in release.routes.items()
        if not r.embeddings and r.model != chosen.model and (c := cost(r)) is not None and here is not None and c < here
    ]
    return min(others, key=lambda o: o[:2])[2] if others else None
