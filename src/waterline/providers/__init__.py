"""Model providers: one file each, and one line here."""

from collections.abc import Callable

from waterline.core.release import ProviderKind
from waterline.providers.base import Provider


def all_providers(clock_us: Callable[[], int]) -> dict[ProviderKind, Provider]:
    """Every provider by its kind."""
    from waterline.providers.anthropic import Anthropic
    from waterline.providers.gemini import Gemini
    from waterline.providers.local import Local
    from waterline.providers.openai import OpenAI
    from waterline.providers.simulated import Simulated

    return {
        "openai": OpenAI(),
        "anthropic": Anthropic(lambda: clock_us() // 1_000_000),
        "gemini": Gemini(lambda: clock_us() // 1_000_000),
        "local": Local(),
        "simulated": Simulated(),
    }
