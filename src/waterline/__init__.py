"""Waterline: takes an AI application from a demo to a product that may be trusted, and keeps it there."""

__version__ = "0.1.0"
