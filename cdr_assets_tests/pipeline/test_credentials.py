from __future__ import annotations

import pytest

from cdr_assets.pipeline.credentials import fingerprint, matches

CREDENTIALS = ("an-id", "a-key", "https://api.enablex.io/video/v2")


def test_a_fingerprint_matches_its_credentials_and_no_others() -> None:
    known = fingerprint(*CREDENTIALS)
    assert matches(known, *CREDENTIALS)
    for other in (("an-id", "a-key", "https://other.example"), ("an-id", "another", CREDENTIALS[2]), ("", "", "")):
        assert not matches(known, *other)


def test_an_id_and_a_key_are_not_mixed_up() -> None:
    assert not matches(fingerprint("ab", "c", "d"), "a", "bc", "d")


def test_credentials_that_are_missing_have_a_fingerprint_too() -> None:
    assert matches(fingerprint("", "", "u"), "", "", "u")


@pytest.mark.parametrize("known", ["", "-", "nonsense", "salt-", "salt-nonsense"])
def test_a_text_that_is_no_fingerprint_matches_nothing(known: str) -> None:
    assert not matches(known, *CREDENTIALS)


def test_a_fingerprint_differs_each_time_and_reveals_nothing() -> None:
    first, second = fingerprint(*CREDENTIALS), fingerprint(*CREDENTIALS)
    assert first != second
    assert not any(part in first for part in CREDENTIALS)
