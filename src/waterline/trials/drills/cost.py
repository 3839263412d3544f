"""Cost: what the declared monthly volume would cost, from the tokens that the real conversations took."""

from importlib import resources

from waterline.core.cost_model import with_cached_share
from waterline.core.money import Price, Usage, cost_nano_usd, usd
from waterline.core.prices import PriceTable
from waterline.core.verdict import Estimate, Outcome, Verdict
from waterline.evals.forecast import CONFIDENCE, scaled
from waterline.evals.statistics import clustered_mean
from waterline.trials.asking import Asked
from waterline.trials.calls import wall_us
from waterline.trials.drawing import number
from waterline.trials.drills.quality import sampled
from waterline.trials.judging import undeclared, verdict
from waterline.trials.load_line import Fact, Section, Table
from waterline.trials.sea import Sea

DRILL = "cost"
CASES_NEEDED = 10  # named where there is nothing to estimate from
NANO = 1e9


def price_table(sea: Sea) -> PriceTable:
    text = resources.files("waterline.core").joinpath("prices.toml").read_text(encoding="utf-8")
    return PriceTable.parse(text, sea.spec.prices)


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    asked = [a for a in await sampled(sea) if a.usage is not None and a.model]
    prices = price_table(sea)
    priced = [(a, price) for a in asked if (price := prices.find(a.provider, a.model, wall_us())) is not None]
    names = sorted({f"{a.provider} {a.model}" for a in asked})
    if asked and len(priced) < len(asked):
        said = (
            f"no price is known for a model of {', '.join(names)}; unpriced is not zero. Add a [[price]] to prices.toml"
        )
        section.verdicts = [verdict(DRILL, "forecast", Outcome.INCONCLUSIVE, said, provider="real")]
        return section
    each = [float(_cost(a, price)) for a, price in priced]
    turn = clustered_mean(each, [a.question.case.id for a, _ in priced], CONFIDENCE, bounds=None)
    if turn is None:
        said = f"{len(each)} priced calls are too few to forecast from"
        more = CASES_NEEDED - len(each)
        section.verdicts = [verdict(DRILL, "forecast", Outcome.INCONCLUSIVE, said, provider="real", more=more)]
        return section
    goals = sea.spec.objectives
    conversation = scaled(turn, goals.turns_per_conversation / NANO)
    if goals.nano_usd_per_conversation is not None:
        limit = goals.nano_usd_per_conversation / NANO
        section.verdicts.append(_at_most("USD a conversation", conversation, limit))
    month = None
    if goals.monthly_conversations is not None:
        month = scaled(conversation, float(goals.monthly_conversations))
        if goals.nano_usd_per_month is not None:
            section.verdicts.append(_at_most("USD a month", month, goals.nano_usd_per_month / NANO))
    if not section.verdicts:
        section.verdicts.append(undeclared(DRILL, "forecast", "usd_per_conversation or usd_per_month", "real"))
    section.facts = [
        Fact("Volume", _volume(sea), "none"),
        Fact("A conversation", _interval(conversation, 6), "real"),
        Fact("Tokens a turn", _tokens([a for a, _ in priced]), "real"),
        Fact("Prices", "; ".join(sorted({_said(a, price) for a, price in priced})), "none"),
    ]  # fmt: skip
    if month is not None:
        section.facts.insert(1, Fact("A month", _interval(month, 2), "real"))
        section.tables = [_sensitivity(sea, priced, month)]
    section.excludes = [
        "answers of the fallback routes, retries and judges; what the team's own machines cost",
        "a mix of questions other than that of the cases",
    ]
    return section


def _cost(asked: Asked, price: Price) -> int:
    """As the trace was priced; from the tokens where that is not known."""
    assert asked.usage is not None
    return asked.cost_nano_usd if asked.cost_nano_usd is not None else cost_nano_usd(asked.usage, price)


def _at_most(name: str, value: Estimate, limit: float) -> Verdict:
    said = [number(one, "USD") for one in (value.value, value.low, value.high, limit)]
    seen = f"{said[0]} [{said[1]}, {said[2]}] over {value.n} cases, at most {said[3]} declared"
    outcome, more = Outcome.INCONCLUSIVE, None
    if value.high <= limit:
        outcome = Outcome.PASS
    elif value.low > limit:
        outcome = Outcome.FAIL
    elif value.value != limit:
        half = value.high - value.value if value.value < limit else value.value - value.low
        more = max(1, round(value.n * (half / abs(limit - value.value)) ** 2) + 1 - value.n)
        seen += f"; about {more} more cases would settle it"
    return verdict(DRILL, name, outcome, seen, provider="real", value=value, threshold=limit, unit="USD", more=more)


def _interval(value: Estimate, places: int) -> str:
    return f"{value.value:,.{places}f} USD [{value.low:,.{places}f}, {value.high:,.{places}f}]"


def _volume(sea: Sea) -> str:
    goals = sea.spec.objectives
    if goals.monthly_conversations is None:
        return "app.toml declares no monthly_conversations: no figure for a month"
    return f"{goals.monthly_conversations:,} conversations a month of {goals.turns_per_conversation:g} turns (declared)"


def _tokens(asked: list[Asked]) -> str:
    n = len(asked)
    used = [a.usage for a in asked if a.usage is not None]
    new, cached = sum(u.total_input - u.cached_input for u in used) / n, sum(u.cached_input for u in used) / n
    return f"{new:,.0f} read, {cached:,.0f} read from the cache, {sum(u.total_output for u in used) / n:,.0f} written"


def _said(asked: Asked, price: Price) -> str:
    per = f"{usd(price.input)} in, {usd(price.cached_input)} cached, {usd(price.output)} out a million tokens"
    return f"{asked.provider} {asked.model}: {per} ({price.version})"


def _sensitivity(sea: Sea, priced: list[tuple[Asked, Price]], month: Estimate) -> Table:
    """What the month would cost if one thing were different."""
    goals = sea.spec.objectives
    factor = goals.turns_per_conversation * (goals.monthly_conversations or 0) / len(priced) / NANO

    def with_cache(share: float) -> float:
        used = ((with_cached_share(asked.usage or Usage(), share), price) for asked, price in priced)
        return sum(cost_nano_usd(usage, price) for usage, price in used) * factor

    rows = [["as measured", f"{month.value:,.2f}", ""]]
    for name, value in (
        ("prices 20 % higher", month.value * 1.2), ("prices 20 % lower", month.value * 0.8),
        ("answers and prompts 20 % longer", month.value * 1.2), ("answers and prompts 20 % shorter", month.value * 0.8),
        ("nothing read from the cache", with_cache(0.0)), ("half of the prompt from the cache", with_cache(0.5)),
        ("90 % of the prompt from the cache", with_cache(0.9)), ("twice the conversations", month.value * 2.0),
    ):  # fmt: skip
        limit = goals.nano_usd_per_month
        rows.append([name, f"{value:,.2f}", "above the objective" if limit and value > limit / NANO else ""])
    return Table("If one thing were different", ["what", "USD a month", ""], rows, "real")
