"""Connected systems that a drill plays, by kind: one line each. A kind that is not here is named as not played."""

from waterline.trials.played.base import Played
from waterline.trials.played.caldav import PlayedCalendar
from waterline.trials.played.rest import PlayedRest
from waterline.trials.played.tryton import PlayedTryton
from waterline.trials.played.webhook import PlayedReceiver

PLAYED: dict[str, type[Played]] = {
    "caldav": PlayedCalendar, "openapi": PlayedRest, "tryton": PlayedTryton, "webhook": PlayedReceiver,
}  # fmt: skip
