"""Is everything set up? One line for each thing that a run relies on; nothing is judged here.

A line is *ok*, *to mend* with what to do about it, or *not looked at* with the reason.
"""

from __future__ import annotations

import enum
import functools
import os
import platform
import stat
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from importlib import metadata

import pytest

from pytest_kosli import __version__, answers
from pytest_kosli.answers import Environment
from pytest_kosli.api.cassettes import AGAIN, Cassettes
from pytest_kosli.api.host import BASE_PATH, Exchange, Token
from pytest_kosli.api.http import Http, ca_bundle
from pytest_kosli.api.kosli import KosliClient, parse_expression
from pytest_kosli.configfile import VARIABLE, ConfigFile
from pytest_kosli.discovery import Discovery, Sources, check_fresh
from pytest_kosli.enforce import usage_error
from pytest_kosli.judge import ATTACH_ONE, CLOCK_SKEW
from pytest_kosli.model import ANY_FLOW, Artifact, NoVerdict, Reply, Request
from pytest_kosli.options import ROWS, Level, Row, shown
from pytest_kosli.run import host_of
from pytest_kosli.settings import Survey, no_organisation, no_token, survey
from pytest_kosli.text import clean, count, span, when

WIDTH = 100
STATE_WIDTH = 15
TEXT_BEGINS = 38

LIBRARIES = ("pytest", "requests", "urllib3", "vcrpy", "msgspec", "pytest-xdist")
ALWAYS_SHOWN = ("api_token", "host", "org")

RECENTLY = 86_400.0
"""Seconds: most reporters report every few minutes, and a nightly one is alive as well."""


class State(enum.Enum):
    """How a thing was found."""

    OK = "ok"
    MEND = "to mend"
    UNSEEN = "not looked at"


COLOURS = {State.OK: "green", State.MEND: "red", State.UNSEEN: "yellow"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a run relies on, how it was found, and what to do if it is to be mended."""

    state: State
    about: str
    said: str
    todo: str = ""
    docs: str = ""


class NotLookedAt(Exception):
    """Why a thing was not looked at, where that alone is nothing to mend."""


# Printing.


def run(config: pytest.Config) -> pytest.ExitCode:
    """Print each line as soon as it is known; return USAGE_ERROR if anything is to be mended."""
    reporter = pytest.TerminalReporter(config)
    found = dict.fromkeys(State, 0)
    for line in examine(survey(config), every=config.get_verbosity() > 0):
        found[line.state] += 1
        first, *others = text_of(line)
        reporter.write(first[:STATE_WIDTH], **{COLOURS[line.state]: True})
        for rest in (first[STATE_WIDTH:], *others):
            reporter.write_line(rest)
    told = ", ".join(f"{number} {state.value}" for state, number in found.items() if number)
    reporter.write_line(told, bold=True)
    return pytest.ExitCode.USAGE_ERROR if found[State.MEND] else pytest.ExitCode.OK


def text_of(line: Line) -> list[str]:
    """Return a line as text of at most 100 columns, with what to do and where to read below it."""
    about = clean(clean(line.about), 50)  # what was escaped is longer than it was
    head = f"{line.state.value:<{STATE_WIDTH}}{about:<{TEXT_BEGINS - STATE_WIDTH - 2}}  "
    below = " " * STATE_WIDTH
    lines = _wrapped(line.said, head, " " * TEXT_BEGINS) or [head]
    lines += _wrapped(line.todo, below, below)
    return [*lines, below + line.docs] if line.docs else lines


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        clean(text, 1000),
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )


# Looking, in the order in which one thing stands on another.


def examine(found: Survey, *, every: bool = False) -> Iterator[Line]:
    """Yield a line for each thing that a run with these settings relies on.

    Kosli is asked while the lines are taken, without retries, and never in a dry run. ``every``
    shows settings at their default as well.
    """
    with ExitStack() as at_end:
        visit = _Visit(found, at_end)
        yield Line(State.OK, "versions", versions())
        yield from visit.settings(every)
        yield from visit.way()
        yield from visit.environments()
        yield from visit.sources()
        yield from visit.unasked()


class _Visit:
    """What was found out so far, and which lines that keeps from being looked at."""

    def __init__(self, found: Survey, at_end: ExitStack) -> None:
        self._survey = found
        self._settings = found.settings
        self._at_end = at_end
        self._stopped = {
            name: f"usage error ({one.about})" for one in found.wrong for name in one.names
        }
        self._known: dict[str, Environment] = {}
        self._told: set[str] = set()
        self._reply = Reply(0, b"")

    def _look(self, about: str, find: Callable[[], str], *needs: str) -> Line:
        """Return the line about a thing, which is not looked at while one of its needs is not ok.

        ``find`` returns what is fine about it, or raises NoVerdict or NotLookedAt.
        """
        why = next((self._stopped[need] for need in needs if need in self._stopped), None)
        if why is not None:
            self._stopped[about] = why
            return Line(State.UNSEEN, about, why)
        try:
            return Line(State.OK, about, find())
        except NotLookedAt as reason:
            return Line(State.UNSEEN, about, str(reason))
        except NoVerdict as error:
            self._stopped[about] = f"{error.code.replace('_', ' ')} ({about})"
            return _to_mend(about, error)

    # What is given.

    def settings(self, every: bool) -> Iterator[Line]:
        """Yield each usage error, then each setting in force and where it came from."""
        for one in self._survey.wrong:
            yield _to_mend(one.about, usage_error(one.error))
        for row in (row for row in ROWS if row.name != "doctor"):
            given = self._settings.origins[row.name].level is not Level.DEFAULT
            if row.name not in self._stopped and (every or given or row.name in ALWAYS_SHOWN):
                yield self._look(row.name, partial(self._setting, row))
        for note in self._settings.notes:
            yield Line(State.OK, "note", note)
        if self._survey.file is not None:
            yield self._look("config file", partial(check_file, self._survey.file))
        yield self._look("mode", self._mode, "dry_run", "offline", "record")

    def _setting(self, row: Row) -> str:
        value, where = getattr(self._settings, row.name), self._settings.origins[row.name]
        if value is None and row.name == "api_token":
            if self._settings.mode in ("offline", "dry run"):
                return "none, and none is needed"
            raise no_token()
        if value is None and row.name == "org":
            raise usage_error(no_organisation())
        if row.name == "host" and self._settings.offline and where.level is Level.DEFAULT:
            return "the one that the cassettes name"
        return f"{'set' if isinstance(value, Token) else shown(value)} ({where})"

    def _mode(self) -> str:
        mode = self._settings.mode
        cause = {"dry run": "dry_run", "offline": "offline", "record": "record"}.get(mode)
        if cause is None:
            return mode
        said = f"{mode} ({self._settings.origins[cause]})"
        if mode == "record":
            return said
        self._stopped["network"] = said
        return f"{said}: nothing is sent"

    # The way to Kosli, or to what was recorded of it.

    def way(self) -> Iterator[Line]:
        """Yield what stands between a question and its answer."""
        if self._settings.offline:
            yield self._look("recordings", self._recordings, "mode", "cassettes", "host", "org")
        needs = ["mode", "network", "host"]
        yield self._look("certificates", self._certificates, *needs)
        yield self._look("proxy", self._proxy, *needs, "http_proxy")
        needs += ["certificates", "proxy"]
        yield self._look("connection", self._connection, *needs)
        needs = ["connection", "api_token", "org"]
        yield self._look("token", self._token, *needs)
        yield self._look("organisation", self._organisation, *needs, "token")
        yield self._look("clock", lambda: check_clock(self._reply), "connection")

    def _recordings(self) -> str:
        settings, host = self._settings, self._host
        found = Cassettes(settings.cassettes).recordings(settings.org or "")
        return check_recordings(
            [(named, reply.received_at) for named, reply in found if reply.received_at],
            f"{settings.org} in {settings.cassettes}",
            host,
            settings.max_age,
            datetime.now(UTC),
        )

    def _certificates(self) -> str:
        if self._settings.host.startswith("http:"):
            return "none are needed on loopback"
        variable, bundle = ca_bundle()
        return f"{bundle} ({variable})" if variable else "certifi's"

    def _proxy(self) -> str:
        proxy, settings = self._http(None).proxy, self._settings
        where = settings.origins["http_proxy"] if settings.http_proxy else "HTTPS_PROXY"
        return f"{proxy} ({where})" if proxy else "none"

    def _connection(self) -> str:
        self._reply = self._http(None, "")(Request(("ready",)))
        check_ready(self._reply, self._settings.host)
        return f"{self._settings.host} is there and ready"

    def _token(self) -> str:
        self._reply = self._exchange(_listing(self._org))
        if self._reply.status == 401:
            raise answers.refusal(self._reply, f"organisation {self._org}")
        if self._reply.status != 200:
            raise NotLookedAt(f"Kosli answered {self._reply.status} about {self._org}")
        return check_token(self._http(None)(_listing(self._org)), self._org)

    def _organisation(self) -> str:
        return check_organisation(self._reply, self._org)

    def _http(self, token: Token | None, base_path: str = BASE_PATH) -> Http:
        settings = self._settings
        http = Http(
            settings.host,
            token,
            timeout=settings.timeout,
            max_api_retries=0,
            proxy=settings.http_proxy,
            base_path=base_path,
            user_agent=f"pytest-kosli/{__version__}",
        )
        self._at_end.callback(http.close)
        return http

    @cached_property
    def _exchange(self) -> Exchange:
        """Return the way that a run would take, each question asked once."""
        if self._settings.offline:
            cassettes = Cassettes(self._settings.cassettes)
            return lambda request: cassettes.play(request, self._host)
        return functools.cache(self._http(self._settings.api_token))

    @cached_property
    def _host(self) -> str:
        return host_of(self._settings)

    @property
    def _org(self) -> str:
        return self._settings.org or ""

    @cached_property
    def _client(self) -> KosliClient:
        return KosliClient(self._org, host=self._host, exchange=self._exchange)

    # What the settings name.

    def environments(self) -> Iterator[Line]:
        """Yield what is to be said of each environment that a setting names."""
        names = [self._settings.environment, *map(_environment_of, self._settings.snapshot)]
        for name in names:
            if name:
                yield from self._environment(name)
        if not any(names):
            yield self._look("environments", _named_nowhere, "environment")

    def _environment(self, name: str) -> Iterator[Line]:
        if name in self._told:
            return
        self._told.add(name)
        about = f"environment {name}"
        yield self._look(about, partial(self._exists, name), "organisation")
        found = self._known.get(name, Environment(name))
        if found.type == "logical":
            for included in found.included_environments or ():
                yield from self._environment(included)
            return
        policies = partial(check_policies, found, self._settings.require_policies)
        reports = partial(check_reports, found, self._settings.max_snapshot_age)
        yield self._look(f"policies of {name}", policies, about, "require_policies")
        yield self._look(f"reports of {name}", reports, about, "max_snapshot_age")

    def _exists(self, name: str) -> str:
        found = self._known[name] = self._client.environment(name)
        groups = f", groups {', '.join(found.included_environments or ())}"
        return f"exists, {found.type}{groups if found.type == 'logical' else ''}"

    def sources(self) -> Iterator[Line]:
        """Yield what each snapshot and repository that a setting names leads to."""
        settings = self._settings
        provider, without = settings.provider, settings.without
        for expression in settings.snapshot:
            source = Sources(snapshots=(expression,), without=without)
            stands_on = f"environment {_environment_of(expression)}"
            yield self._source(f"snapshot {expression}", source, stands_on)
        for repo in settings.repo:
            source = Sources(repos=(repo,), provider=provider, without=without)
            yield self._source(f"repo {repo}", source, "organisation")

    def _source(self, about: str, source: Sources, stands_on: str) -> Line:
        if self._settings.offline:
            stands_on = "recordings"
        needs = (stands_on, "without", "provider", "max_snapshot_age")
        return self._look(about, partial(self._found, source), *needs)

    def _found(self, source: Sources) -> str:
        age = self._settings.max_snapshot_age
        discovery = Discovery(lambda: self._client, _never_asked, max_snapshot_age=age)
        found = discovery.find([source])
        for problem in (check.problem for check in found.checks):
            if problem:
                raise problem
        left_out = f", {len(found.left_out)} left out by without" if found.left_out else ""
        return f"{count(len(found.checks), 'artifact')}{left_out}"

    def unasked(self) -> Iterator[Line]:
        """Yield what Kosli has no answer for before it is asked about an artifact."""
        flow = self._settings.flow
        names = [f"policy {name}" for name in self._settings.policy]
        names += [f"flow {flow}"] if flow and flow != ANY_FLOW else []
        for about in names:
            why = "only a question about an artifact tells whether there is one of that name"
            yield Line(State.UNSEEN, about, why)


def _to_mend(about: str, error: NoVerdict) -> Line:
    said = "; ".join((error.message, *error.errors))
    return Line(State.MEND, about, said, error.todo, error.docs)


def _listing(org: str) -> Request:
    return Request(("environments", org), (("page", "1"), ("per_page", "1")))


def _environment_of(expression: str) -> str:
    """Return the environment of a snapshot; nothing where that can not be told."""
    try:
        return parse_expression(expression)[0]
    except NoVerdict:
        return ""  # told by the line of the snapshot


def _named_nowhere() -> str:
    raise NotLookedAt("no setting names one; the marks of tests may")


def _never_asked(reference: str, origin: str) -> Artifact:
    raise LookupError(f"{origin} {reference} is not looked up here")


# What each thing comes to: pure, so that each lie has its test.


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
            "Record it again, or raise --kosli-max-age.",
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
