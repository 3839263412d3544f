"""What holds for every test: a property is not refused because the machine was slow at it."""

from hypothesis import HealthCheck, settings

from realservers.ci import pytest_runtest_makereport  # noqa: F401  CI skips no server
from realservers.fixtures import mariadb, postgres, radicale, tryton, wire_to  # noqa: F401  fixtures: real servers, started when first asked for

settings.register_profile("waterline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("waterline")
