"""What holds for every test: a property is not refused because the machine was slow at it."""

from hypothesis import HealthCheck, settings

settings.register_profile("waterline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("waterline")
