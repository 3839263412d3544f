"""Fixtures of the whole app; what they are made of is in whole_app.py."""

from whole_app import make_app, server, sim

__all__ = ["make_app", "server", "sim"]
