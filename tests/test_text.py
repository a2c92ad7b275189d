"""Other people's text made harmless, and ours made short."""

from __future__ import annotations

import pytest

from pytest_kosli.text import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.5, "0.5s"),
        (30.0, "30s"),
        (90.0, "90s"),
        (120.0, "2m"),
        (5_400.0, "90m"),
        (7_200.0, "2h"),
        (86_400.0, "1d"),
        (90_000.0, "25h"),
        (86_401.0, "86401s"),
        (1_234_567.0, "1234567s"),
        (8_640_000.5, "8640000.5s"),
        (86_400.0 * 7_654_321, "7654321d"),
    ],
)
def test_a_duration_is_told_as_the_settings_take_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
