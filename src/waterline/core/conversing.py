"""How patient conversations are: app.toml [conversations]. Part of the environment record."""

from msgspec import Struct


class Conversing(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """All times in seconds."""

    quiet_s: float = 1.5  # nothing more comes for so long: the turn begins
    longest_quiet_s: float = 6.0  # it begins even if more keeps coming
    turn_s: float = 60.0  # the longest a turn may take
    late_s: float = 4.0  # then the user hears that something takes longer
    excuse_s: float = 30.0  # turns have failed for so long: an honest sentence, and a person is told
    give_up_s: float = 21_600.0  # for so long something is tried again while a system is down
    remind_s: float = 900.0  # nobody took a conversation that asks for a person: the team is reminded
    reopen: str = ""  # a template without parameters that asks the user to write, where a free text may not be sent
    notify: str = ""  # "<connector>.<operation>" that reminds the team
