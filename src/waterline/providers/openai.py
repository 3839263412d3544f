"""OpenAI, and every server that speaks its protocol (declare `base_url` on the route)."""

from waterline.core.release import ProviderKind
from waterline.providers.openai_wire import OpenAIWire


class OpenAI(OpenAIWire):
    kind: ProviderKind = "openai"
    default_base_url = "https://api.openai.com/v1"
    default_key_env = "OPENAI_API_KEY"
