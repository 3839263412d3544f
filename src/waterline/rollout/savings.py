"""[cache] of app.toml: what makes answers cheaper."""

from waterline.core.savings import Cache
from waterline.rollout.environment import AppToml


def read_cache(app: AppToml) -> Cache:
    values = app.read("cache")
    place = app.place("cache")
    if values and not values.get("exact"):
        key = next(iter(values))
        place.wrong(key, f"[cache] says {key}, but nothing is cached", "Write exact = true, or remove [cache]")
    return Cache(**values)
