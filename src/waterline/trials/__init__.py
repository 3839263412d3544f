"""To sea: drills that a release goes through before it may leave port, and the load line they end in."""

DRILLS = (
    "quality",
    "robustness",
    "distribution",
    "load",
    "outage",
    "availability",
    "budget",
    "branches",
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
)  # every drill that an app may require, in the order in which they run

IMPLEMENTED = (
    "quality", "robustness", "load", "outage", "availability", "budget", "branches", "cost", "rollback", "recovery",
    "integrations",
)  # fmt: skip
"""Those that this version has. A required one that it has not counts as "could not run", never as passed."""
