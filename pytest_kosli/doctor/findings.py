"""What each thing that a run relies on comes to: pure, so that each lie has its test."""

from __future__ import annotations

import os
import platform
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata

from pytest_kosli import __version__, answers
from pytest_kosli.answers import Environment
from pytest_kosli.api.cassettes import AGAIN
from pytest_kosli.configfile import VARIABLE, ConfigFile
from pytest_kosli.discovery import check_fresh
from pytest_kosli.doctor.line import NotLookedAt
from pytest_kosli.judge import ATTACH_ONE, CLOCK_SKEW, RENEW
from pytest_kosli.model import NoVerdict, Reply
from pytest_kosli.text import clean, count, span, when

LIBRARIES = ("pytest", "requests", "urllib3", "vcrpy", "msgspec", "pytest-xdist")

RECENTLY = 86_400.0
"""Seconds: most reporters report every few minutes, and a nightly one is alive as well."""


def versions() -> str:
    """Return the versions of what a run is made of, as far as it is installed."""
    told = [f"pytest-kosli {__version__}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            told.append(f"{name} {metadata.version(name)}")
    return ", ".join(told)


def check_file(file: ConfigFile) -> str:
    """Return where settings come from besides flags, variables and ini file.

    Raises NoVerdict for a named file that is not there, and for one with ``loose_permissions``:
    others may change it, or read it though it holds a secret.
    """
    if file.path is None:
        if named := os.environ.get(VARIABLE):
            raise NoVerdict(
                "usage_error",
                f"{VARIABLE}: there is no file {named}, so nothing is read from it",
                "Correct the variable, or unset it.",
            )
        return f"there is no {file.label}"
    mode = stat.S_IMODE(file.path.stat().st_mode)
    secret = file.values.get("api-token") or "@" in str(file.values.get("http-proxy"))
    if os.name == "posix" and mode & (0o077 if secret else 0o022):
        what = "change it" if mode & 0o022 else "read the secret in it"
        raise NoVerdict(
            "loose_permissions",
            f"{file.label} has the mode {mode:04o}: others than its owner may {what}",
            f"Keep it to its owner: chmod 600 {file.label}",
        )
    return file.label


def check_recordings(
    found: Sequence[tuple[str, datetime]],
    of: str,
    host: str,
    max_age: float | None,
    now: datetime,
) -> str:
    """Return what there are of cassettes, each by its host and date, and how old they are.

    Raises NoVerdict where there are none, or one is of another host or older than ``max_age``.
    """
    if not found:
        raise NoVerdict("cassette_missing", f"there are no cassettes of {of}", AGAIN)
    hosts = sorted({named for named, _ in found})
    if hosts != [host]:
        others = ", ".join(named for named in hosts if named != host)
        raise NoVerdict(
            "cassette_mismatch", f"cassettes of {of} are of {others}, not of {host}", AGAIN
        )
    first, last = min(date for _, date in found), max(date for _, date in found)
    age = (now - first).total_seconds()
    if max_age is not None and age > max_age:
        raise NoVerdict(
            "too_old",
            f"cassettes of {of} were recorded {when(first)}, {_lasting(age)} ago",
            RENEW["the recording"],
        )
    ago = f"{_lasting(age)} ago" if len(found) == 1 else f"the first {_lasting(age)} ago"
    return f"{len(found)} of {of}, from {host}, {span(first, last)}, {ago}"


def check_ready(reply: Reply, host: str) -> None:
    """Raise NoVerdict unless a reply of ``GET {host}/ready`` is Kosli's OK."""
    about = f"{host}/ready"
    said, _ = answers.error_text(reply)
    if reply.status == 404:
        raise replace(answers.refusal(reply, about), todo=answers.TODO["unexpected_status"])
    if reply.status != 200:
        raise answers.refusal(reply, about)
    if said != "OK":
        raise answers.malformed(about, f"it says {said or 'nothing'}, not OK", reply)


def check_token(without: Reply, org: str) -> str:
    """Return that a token was taken, if a request ``without`` any is refused.

    Raises NotLookedAt where it is not, so that nothing is known of the token.
    """
    if without.status == 200:
        raise NotLookedAt(f"{org} is public: Kosli answers without a token as well")
    if without.status not in (401, 403, 404):
        raise NotLookedAt(f"without a token Kosli answers {without.status}, which says nothing")
    return "Kosli takes it"


def check_organisation(reply: Reply, org: str) -> str:
    """Return that an organisation is there, by the reply to a request for its environments.

    Raises NoVerdict for any other reply, and for one about another organisation.
    """
    about = f"organisation {org}"
    if reply.status != 200:
        raise answers.refusal(reply, about)
    value = answers.load(reply, about).value
    listed = value.get("environments") if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise answers.malformed(about, "it is no list of environments", reply)
    for entry in listed:
        if isinstance(entry, dict) and entry.get("org", org) != org:
            raise answers.malformed(about, f"it is about {clean(entry['org'], 60)}", reply)
    return f"{org} exists, and the token may read it"


def check_policies(environment: Environment, required: bool) -> str:
    """Return the policies of an environment.

    Raises NoVerdict ``no_policies`` where there are none and some are ``required``, NotLookedAt
    where the reply does not say.
    """
    if environment.policies is None:
        raise NotLookedAt("Kosli's reply does not say which there are")
    if environment.policies:
        return f"{len(environment.policies)}: {', '.join(environment.policies)}"
    if not required:
        return "none, so flow templates count (require_policies false)"
    raise NoVerdict(
        "no_policies",
        f"environment {environment.name} has no policy attached: nothing would be checked",
        ATTACH_ONE,
    )


def check_reports(environment: Environment, limit: float | None) -> str:
    """Return when an environment was last reported; ``limit`` is in seconds, a day if None.

    Raises NoVerdict when that never happened, is longer ago, or lies in the future.
    """
    about = f"environment {environment.name}"
    reported = environment.last_reported_at
    if reported is None or environment.received_at is None:
        raise NoVerdict(
            "empty_environment",
            f"{about}: nothing was ever reported to it",
            "Look at its reporter (`kosli snapshot`).",
        )
    now = environment.received_at.timestamp()
    check_fresh(about, reported, now, limit or RECENTLY)
    return f"the last {when(answers.moment(reported))}, {_lasting(now - reported)} ago"


def check_clock(reply: Reply) -> str:
    """Return that our clock and the server's agree, by the Date of a reply.

    Raises NoVerdict ``clock_skew`` when they do not, NotLookedAt for a reply without a Date.
    """
    told = dict(reply.headers).get("Date", "")
    try:
        theirs = parsedate_to_datetime(told)
    except ValueError:
        raise NotLookedAt("the reply has no Date that can be read") from None
    ours = reply.received_at or theirs
    ahead = (ours - theirs.replace(tzinfo=theirs.tzinfo or UTC)).total_seconds()
    if abs(ahead) > CLOCK_SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        raise NoVerdict(
            "clock_skew",
            f"the clock of this machine is {_lasting(abs(ahead))} {way} Kosli's",
            "Set it, or let NTP set it: ages of verdicts and snapshots are judged by it.",
        )
    return f"within {_lasting(CLOCK_SKEW)} of Kosli's"


def _lasting(seconds: float) -> str:
    """Return a duration in its largest whole unit: ``3 days``."""
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            return count(int(seconds // unit), name)
    return count(max(int(seconds), 0), "second")
