"""The nouns. Pure: no I/O, no asyncio, no clock; imports nothing of ours outside `core`."""
