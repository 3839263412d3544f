"""`anthropic-beta`: a beta changes what an answer is and what it costs, so a route declares which may be asked for.

Not dropped in silence: who asked for a beta and got an answer without it could not tell.
"""

from waterline.core.errors import InvalidRequest
from waterline.core.request import Request
from waterline.gateway.route import Target


def check_betas(request: Request, target: Target) -> None:
    """Raises InvalidRequest naming the beta and the remedy."""
    route = target.route
    refused = [beta for beta in request.betas if beta not in route.betas]
    if not refused:
        return
    if route.provider != "anthropic":
        remedy = f'its provider is "{route.provider}", and betas are Anthropic\'s. Do not send the header'
    else:
        remedy = f'let it: betas = ["{refused[0]}"] in [models.{target.name}] of app.toml. Or do not send the header'
    raise InvalidRequest(
        f'The route "{target.name}" passes on no anthropic-beta "{refused[0]}"; {remedy}.', param="anthropic-beta"
    )
