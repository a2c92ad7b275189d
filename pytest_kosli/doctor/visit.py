"""The doctor's visit: what a run relies on, in the order in which one thing stands on another."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial

import pytest

from pytest_kosli import __version__, answers, hooks
from pytest_kosli.answers import Environment
from pytest_kosli.api.cassettes import Cassettes
from pytest_kosli.api.host import BASE_PATH, Exchange, Token
from pytest_kosli.api.http import Http, ca_bundle
from pytest_kosli.api.kosli import KosliClient, parse_expression
from pytest_kosli.deployment import KEY, STANDARD_INPUT, Deployment, standard_input
from pytest_kosli.discovery import Check, Discovery, Sources, beside
from pytest_kosli.doctor.findings import (
    check_clock,
    check_file,
    check_organisation,
    check_policies,
    check_ready,
    check_recordings,
    check_reports,
    check_token,
    versions,
)
from pytest_kosli.doctor.line import Line, NotLookedAt, State, to_mend
from pytest_kosli.enforce import usage_error
from pytest_kosli.fingerprint import Fingerprint
from pytest_kosli.fingerprint.reference import Reference
from pytest_kosli.memo import Memo, ProcessMemo
from pytest_kosli.model import ANY_FLOW, Artifact, NoVerdict, Reply, Request
from pytest_kosli.options import ROWS, Level, Row
from pytest_kosli.references import Claim, References
from pytest_kosli.report.files import destinations
from pytest_kosli.run import KINDS, bases, host_of, named_by, offline_image
from pytest_kosli.settings import SCOPES, Survey, folder, no_organisation, no_token
from pytest_kosli.text import count
from pytest_kosli.values import shown

ALWAYS_SHOWN = ("api_token", "host", "org")
MODE = ("dry_run", "offline", "record")
NOT_LIVE = {"offline": "a replay", "dry run": "a dry run"}
GATE = "pytest_kosli.gate"


def examine(config: pytest.Config, found: Survey, *, every: bool = False) -> Iterator[Line]:
    """Yield a line for each thing that a run with these settings relies on.

    Kosli is asked while the lines are taken, without retries, and never in a dry run. ``every``
    shows settings at their default as well.
    """
    with ExitStack() as at_end:
        visit = _Visit(config, found, at_end)
        yield Line(State.OK, "versions", versions())
        yield from visit.settings(every)
        yield from visit.reports()
        yield from visit.way()
        yield from visit.environments()
        yield from visit.sources()
        yield from visit.unasked()


class _Visit:
    """What was found out so far, and which lines that keeps from being looked at."""

    def __init__(self, config: pytest.Config, found: Survey, at_end: ExitStack) -> None:
        self._config = config
        self._survey = found
        self._settings = found.settings
        self._at_end = at_end
        self._stopped = {
            name: f"usage error ({one.about})" for one in found.wrong for name in one.names
        }
        self._known: dict[str, Environment] = {}
        self._told: set[str] = set()
        self._parts: set[tuple[str, bool, bool]] = set()
        self._reports: list[str] = []
        self._judges: list[str] = []
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
            return to_mend(about, error)

    # What is given.

    def settings(self, every: bool) -> Iterator[Line]:
        """Yield each usage error, then each setting in force and where it came from."""
        for one in self._survey.wrong:
            yield to_mend(one.about, usage_error(one.error))
        for row in (row for row in ROWS if row.name != "doctor"):
            given = self._settings.origins[row.name].level is not Level.DEFAULT
            if row.name not in self._stopped and (every or given or row.name in ALWAYS_SHOWN):
                needs = MODE if row.name == "require" else ()
                yield self._look(row.name, partial(self._setting, row), *needs)
        for note in self._settings.notes:
            yield Line(State.OK, "note", note)
        if self._survey.file is not None:
            yield self._look("config file", partial(check_file, self._survey.file))
        yield self._look("mode", self._mode, *MODE)

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
        if row.name == "require" and value and (dead := NOT_LIVE.get(self._settings.mode)):
            raise usage_error(
                pytest.UsageError(
                    f"{where}: {value} is never reached: no verdict of {dead} is live"
                )
            )
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

    def reports(self) -> Iterator[Line]:
        """Yield whether each report can be written; none is, and none that is there changes."""
        for name in self._settings.report:
            yield self._look(f"report {name}", partial(self._report, name), "report")

    def _report(self, name: str) -> str:
        origin = self._settings.origins["report"]
        there = folder(self._config, origin.level)
        try:
            *_, found = destinations([*self._reports, name], there, os.environ)
            self._reports.append(name)  # so that the same file under another name is noticed
            found.try_out()
        except ValueError as error:
            raise usage_error(pytest.UsageError(f"{origin}: {error}")) from None
        return f"{found.path} can be written"

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
        snapshots = [name for name in map(_environment_of, self._settings.snapshot) if name]
        for name in self._judging(snapshots):
            yield from self._environment(name)
        for name in snapshots:
            yield from self._environment(name, judges=False)
        named = self._settings.environment
        about = f"environment {named}"
        if named and about not in self._told:
            yield Line(
                State.UNSEEN,
                about,
                "nothing that a setting names is judged by it; what marks name may be",
            )
        if not named and not snapshots:
            yield self._look("environments", _named_nowhere, "environment")

    def _judging(self, snapshots: Sequence[str]) -> Iterator[str]:
        """Yield the environments that a run judges by, as far as settings alone tell."""
        settings = self._settings
        kinds = [kind for kind in KINDS if getattr(settings, kind)]
        scopes = [settings.judged_by(kind) for kind in kinds] or [settings.scope]
        if snapshots:
            named = settings.judged_by("snapshot")
            scopes += [beside(named, name) for name in snapshots]
        return (scope.environment for scope in scopes if scope.environment)

    def _environment(
        self, name: str, *, judges: bool = True, reported: bool = True
    ) -> Iterator[Line]:
        """Yield whether an environment is there, and what it has to have for its part in a run."""
        if (name, judges, reported) in self._parts:
            return
        self._parts.add((name, judges, reported))
        about = f"environment {name}"
        yield from self._once(about, partial(self._exists, name), "organisation")
        found = self._known.get(name, Environment(name))
        if found.type == "logical":
            for included in found.included_environments or ():
                yield from self._environment(included, judges=judges, reported=reported)
            return
        if judges:
            policies = partial(check_policies, found, self._settings.require_policies)
            yield from self._once(f"policies of {name}", policies, about, "require_policies")
        if reported:
            reports = partial(check_reports, found, self._settings.max_snapshot_age)
            yield from self._once(f"reports of {name}", reports, about, "max_snapshot_age")

    def _once(self, about: str, find: Callable[[], str], *needs: str) -> Iterator[Line]:
        """Yield the line about a thing, if it was not told before."""
        if about not in self._told:
            self._told.add(about)
            yield self._look(about, find, *needs)

    def _exists(self, name: str) -> str:
        found = self._known[name] = self._client.environment(name)
        groups = f", groups {', '.join(found.included_environments or ())}"
        return f"exists, {found.type}{groups if found.type == 'logical' else ''}"

    def sources(self) -> Iterator[Line]:
        """Yield what each artifact, snapshot, repository and manifest of a setting leads to."""
        settings = self._settings
        for kind in KINDS:
            for text in getattr(settings, kind):
                find = partial(self._found, named_by(settings, kind, (text,)))
                yield self._look(f"{kind} {text}", find, *self._stands_on(kind, text))
        for name in filter(None, self._judges):
            # Those of a repository: what runs there is known without a report that is new.
            yield from self._environment(name, reported=False)
        if settings.artifact or settings.manifest:
            yield self._look("scope", self._scope, *self._stands_on("artifact"), *SCOPES, "flow")

    def _stands_on(self, kind: str, text: str = "") -> tuple[str, ...]:
        """Return the lines that keep one of the settings' sources from being looked at."""
        if kind in ("artifact", "manifest"):
            dry = ["network"] if self._settings.dry_run else []
            return ("mode", *dry, "without", "require_digests")
        asked = f"environment {_environment_of(text)}" if kind == "snapshot" else "organisation"
        way = "recordings" if self._settings.offline else asked
        return (way, "without", "provider", "max_snapshot_age")

    def _found(self, source: Sources) -> str:
        unasked: list[str] = []

        def resolve(text: str, origin: str) -> Artifact:
            try:
                return self._references.artifact(text, origin)
            except NotLookedAt as reason:
                unasked.append(str(reason))
                return Artifact("", text)  # Nothing is judged here, so none is missed.

        age = self._settings.max_snapshot_age
        discovery = Discovery(lambda: self._client, resolve, age, self._deployed_by(resolve))
        found = discovery.find([source])
        self._judges += [check.scope.environment or "" for check in found.checks]
        problems = [check.problem for check in found.checks if check.problem]
        if problems:
            first, *others = problems
            raise replace(first, errors=(*first.errors, *(error.message for error in others)))
        told = count(len(found.checks), "artifact")
        if found.left_out:
            told += f", {len(found.left_out)} left out by without"
        if unasked:
            raise NotLookedAt(f"{told}, {len(unasked)} not looked at: {unasked[0]}")
        named = found.checks[0].artifact if source.references else None
        return named.label if named else told

    def _deployed_by(
        self, resolve: Callable[[str, str], Artifact]
    ) -> Callable[[str, Sources], Iterator[Check]]:
        """Return what makes checks of a manifest; its images are not asked about at once."""
        digests = self._settings.require_digests
        return Deployment(
            self._memo, bases(self._config), resolve, lambda jobs: None, require_digests=digests
        ).checks

    @cached_property
    def _memo(self) -> Memo:
        memo = ProcessMemo()
        if STANDARD_INPUT in self._settings.manifest:
            memo.once(KEY, partial(standard_input, self._config))
        return memo

    @cached_property
    def _references(self) -> References:
        return References(self._memo, bases(self._config), self._look_up, self._by_a_plugin)

    def _look_up(self, reference: Reference, claim: Claim) -> Fingerprint:
        if self._settings.offline:
            raise offline_image(reference)
        whom = "its registry" if reference.kind == "oci" else "the container engine"
        raise NotLookedAt(f"{whom} is asked about {reference.value} by the run alone")

    def _by_a_plugin(self, reference: str) -> Fingerprint | None:
        for one in hooks.implementations(self._config, hooks.FINGERPRINT):
            raise NotLookedAt(f"the hook {one} is asked about {reference} by the run alone")
        return None

    def _scope(self) -> str:
        if scope := self._settings.scope:
            return str(scope)
        if GATE in (name.partition("::")[0] for name in self._config.args):
            raise usage_error(
                pytest.UsageError(
                    "nothing says what artifacts are to be judged against; name "
                    "--kosli-environment, --kosli-policy or --kosli-flow"
                )
            )
        raise NotLookedAt("no setting names one, so the marks of tests have to")

    def unasked(self) -> Iterator[Line]:
        """Yield what Kosli has no answer for before it is asked about an artifact."""
        flow = self._settings.flow
        names = [f"policy {name}" for name in self._settings.policy]
        names += [f"flow {flow}"] if flow and flow != ANY_FLOW else []
        for about in names:
            why = "only a question about an artifact tells whether there is one of that name"
            yield Line(State.UNSEEN, about, why)


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
