"""Gemini's log-probabilities, asked for and read as OpenAI writes them.

Source: https://ai.google.dev/api/generate-content#LogprobsResult: for each step of decoding the token that was chosen,
and, where `logprobs` asked for them, the likeliest ones; the chosen one may or may not be among them.
"""

from typing import Any

from msgspec import Struct

from waterline.providers.base import ProviderFault

MOST = 20


class _Token(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Top(Struct):
    candidates: list[_Token] = []


class LogprobsResult(Struct, rename="camel"):
    top_candidates: list[_Top] = []
    chosen_candidates: list[_Token] = []


def ask_logprobs(given: dict[str, Any], out: dict[str, Any]) -> None:
    """Takes `logprobs` and `top_logprobs` from a chat completion into a generationConfig."""
    wanted, top = given.pop("logprobs", False), given.pop("top_logprobs", 0)
    if not isinstance(wanted, bool):
        raise ProviderFault("invalid", "logprobs is true or false.", status=400)
    if isinstance(top, bool) or not isinstance(top, int) or not 0 <= top <= MOST:
        raise ProviderFault("invalid", f"top_logprobs is a whole number from 0 to {MOST}.", status=400)
    if top and not wanted:
        raise ProviderFault("invalid", "top_logprobs needs logprobs = true.", status=400)
    if wanted:
        out["responseLogprobs"] = True
        if top:
            out["logprobs"] = top


def told_logprobs(result: LogprobsResult | None) -> dict[str, Any] | None:
    """`logprobs` of a choice."""
    if result is None:
        return None
    tops = result.top_candidates
    content = []
    for step, chosen in enumerate(result.chosen_candidates):
        top = tops[step].candidates if step < len(tops) else []
        content.append({**_entry(chosen), "top_logprobs": [_entry(one) for one in top]})
    return {"content": content, "refusal": None}


def _entry(one: _Token) -> dict[str, Any]:
    return {"token": one.token, "logprob": one.log_probability, "bytes": list(one.token.encode())}
