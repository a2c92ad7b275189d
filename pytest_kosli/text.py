"""Other people's text, made harmless and short before it meets a terminal or a report."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

LIMIT = 300
COMMANDS = ("::", "##")


def clean(text: object, limit: int = LIMIT) -> str:
    """Return ``text`` on one line: control, bidirectional and other invisible characters escaped.

    Longer text than ``limit`` characters is cut, and the cut is shown. What a CI service would
    take for a command of its own at the beginning of a line gets a backslash before it.
    """
    shown = str(text)
    if shown.lstrip().startswith(COMMANDS):
        shown = "\\" + shown
    shown = cut(shown, limit)
    if shown.isprintable():
        return shown
    return "".join(
        ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in shown
    )


def cut(text: str, limit: int) -> str:
    """Return a text of at most so many characters; where some are missing, it shows that."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def when(moment: datetime | None) -> str:
    """Return a moment as people in any time zone read it alike: ``2026-11-20 10:00 UTC``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else "an unknown date"


def span(first: datetime, last: datetime) -> str:
    """Return the moment, the day or the days that two moments span."""
    if when(first) == when(last):
        return when(first)
    days = [moment.astimezone(UTC).strftime("%Y-%m-%d") for moment in (first, last)]
    return " to ".join(dict.fromkeys(days)) + " UTC"


def duration(seconds: float) -> str:
    """Return seconds as the settings take them, in the largest unit that fits: ``1d``, ``90m``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.15g}{unit}"
    return f"{seconds:.15g}s"


def waited(seconds: float, asked: int, unheard: int) -> str:
    """Return how long was waited: ``12 s, asked 5 times, the last 2 without a reply``."""
    told = f"{seconds:.0f} s, asked {asked} times"
    silent = "the last" if unheard == 1 else f"the last {unheard}"
    return f"{told}, {silent} without a reply" if unheard else told


def count(number: int, one: str, many: str = "") -> str:
    """Return ``1 artifact`` or ``2 artifacts``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def web_link(url: str) -> str:
    """Return an address that a report may link to, or nothing: http(s), without credentials."""
    try:
        parts = urlsplit(url)
        plain = url.isprintable() and not set(url) & set(" \\<>\"'`")
        web = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        return url if plain and web else ""
    except ValueError:
        return ""
