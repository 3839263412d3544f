"""To sea: drills that a release goes through before it may leave port, and the load line they end in."""

DRILLS = (
    "quality",
    "robustness",
    "distribution",
    "load",
    "outage",
    "budget",
    "cost",
    "rollback",
    "injection",
    "leak",
    "privacy",
    "continuity",
    "recovery",
    "observability",
    "integrations",
    "audit",
    "access",
)  # every drill that an app may require; those that this version does not have are shown as NOT RUN
