"""Identifiers and digests.

A trace id is 24 hex digits: 12 of Unix milliseconds (ids sort by time), 6 of a counter, 6 of the process.
"""

import hashlib

TRACE_ID_LENGTH = 24


def trace_id(unix_ms: int, counter: int, process: int) -> str:
    """Unique as long as one process makes fewer than 2**24 ids a millisecond."""
    return f"{unix_ms:012x}{counter & 0xFFFFFF:06x}{process & 0xFFFFFF:06x}"


def is_trace_id(text: str) -> bool:
    return len(text) == TRACE_ID_LENGTH and all(c in "0123456789abcdef" for c in text)


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keyed_digest(key: bytes, data: bytes) -> str:
    """Keyed BLAKE2b (RFC 7693), for what must be comparable but not guessable (subjects, upstream bodies).

    `key`: at most 64 bytes. Returns 32 hex digits."""
    return hashlib.blake2b(data, key=key, digest_size=16).hexdigest()


def short(digest: str) -> str:
    """The first 12 digits, as git shows them."""
    return digest[:12]
