"""A fingerprint of credentials. It shows whether credentials that were refused have been replaced."""

from __future__ import annotations

import hashlib
import hmac
import secrets

# Run tags are shown to everybody who sees the Dagster UI. A fingerprint is salted, slow to compute and cut to 48 bits,
# so that nobody can look a key up in a table, try many of them, or be sure of one that fits.
_ITERATIONS = 200_000
_DIGEST_BYTES = 6


def fingerprint(app_id: str, app_key: str, base_url: str) -> str:
    """A fingerprint of the credentials for `matches`, different each time. Takes about 0.1 s."""
    salt = secrets.token_hex(8)
    return f"{salt}-{_digest(salt, app_id, app_key, base_url)}"


def matches(known: str, app_id: str, app_key: str, base_url: str) -> bool:
    """Whether the fingerprint `known` belongs to these credentials."""
    salt, _, digest = known.partition("-")
    return hmac.compare_digest(digest, _digest(salt, app_id, app_key, base_url))


def _digest(salt: str, *credentials: str) -> str:
    # The purpose is part of the text, so that the digest is of no use for anything else.
    text = "\0".join(("cdr_assets refused credentials", *credentials))
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt.encode(), _ITERATIONS, _DIGEST_BYTES).hex()
