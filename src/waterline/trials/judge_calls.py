"""Judges of an evaluation: their models are routes of an app of their own, beside the releases in the same Waterline,
so that they are priced and limited like any call, and never by the budget of the app that is judged."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from waterline.core.app_spec import AppSpec, Limits, encode_spec
from waterline.core.case import Case
from waterline.core.judge import Judge
from waterline.core.release import Release, encode_release
from waterline.evals.judged import Opinion
from waterline.evals.judges import Completed, Material, ask
from waterline.trials.asking import CouldNotRun
from waterline.trials.calls import Call, Caller
from waterline.trials.instance import Instance

Patiently = Callable[[Callable[[], Awaitable[Call]]], Awaitable[Call]]
PROBE = [{"role": "user", "content": "Hello"}]


class Judges:
    """Ready to be asked. `patiently` calls again while a provider says later."""

    def __init__(self, judges: Mapping[str, Judge], caller: Caller, patiently: Patiently, give_up_s: float) -> None:
        self._judges = judges
        self._names = {id(judge): name for name, judge in judges.items()}
        self._caller = caller
        self._patiently = patiently
        self._give_up_s = give_up_s

    async def opinions(self, case: Case, answer: str) -> tuple[Opinion, ...]:
        found = []
        for name, given in sorted(case.expect.judge.items()):
            asked = "\n".join(f"{turn.role}: {turn.content}" for turn in case.turns()[:-1])
            last = case.turns()[-1].content
            material = Material(answer, f"{asked}\n{last}" if asked else last, given.expected, given.context)
            one = await ask(self._judges[name], material, self._complete)
            found.append(Opinion(name, one.said, one.reason, one.changed, one.cost_nano_usd))
        return tuple(found)

    async def probe(self) -> None:
        """A judge that is not there makes no bad answers. Raises CouldNotRun."""
        for name in self._judges:
            call = await self._caller.chat(PROBE, model=name, extra={"max_tokens": 1}, give_up_s=self._give_up_s)
            if not call.complete and call.code != "invalid_request":
                raise CouldNotRun(f'The judge "{name}" does not answer: {call.message or call.code or call.status}')

    async def _complete(self, judge: Judge, said: list[dict[str, str]], form: dict[str, Any]) -> Completed:
        shape = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": form, "strict": True}}
        name = self._names[id(judge)]
        call = await self._patiently(
            lambda: self._caller.chat(said, model=name, extra={"response_format": shape}, give_up_s=self._give_up_s)
        )
        cost = nano(call.cost_usd)
        if not call.complete:
            return Completed("", call.model, call.trace, cost, call.message or call.code or f"status {call.status}")
        return Completed(call.text, call.model, call.trace, cost)


async def install(instance: Instance, spec: AppSpec, judges: Mapping[str, Judge]) -> str:
    """Returns a key for them. What they may cost is what the app may, counted apart."""
    name = f"{spec.name[:56]}-judges"
    release = Release(app=name, routes={known: judge.route for known, judge in judges.items()})
    limits = Limits(
        nano_usd_per_day=spec.limits.nano_usd_per_day, nano_usd_per_month=spec.limits.nano_usd_per_month,
        timezone=spec.limits.timezone,
    )  # fmt: skip
    await instance.install(encode_release(release), encode_spec(AppSpec(name=name, limits=limits, prices=spec.prices)))
    return await instance.app_key(name)


def nano(usd: str) -> int | None:
    """The header's decimal, exactly; None: the gateway named no price."""
    whole, _, rest = usd.partition(".")
    digits = whole + (rest + "000000000")[:9]
    return int(digits) if digits.isdigit() and whole else None
