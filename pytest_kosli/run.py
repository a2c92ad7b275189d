"""The state of one run: its settings, its way to Kosli, and what each item asks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pytest_kosli import __version__, hooks, xdist
from pytest_kosli.api.host import Exchange
from pytest_kosli.api.kosli import KosliClient
from pytest_kosli.discovery import ARTIFACTS, Check, Discovery, Found, Given, Sources, is_late
from pytest_kosli.ledger import Ledger, Left, nobody
from pytest_kosli.marker import ARGUMENT, Parametrised, Plan, plan_of
from pytest_kosli.memo import Memo, ProcessMemo, SharedMemo
from pytest_kosli.model import (
    Artifact,
    NotChecked,
    NoVerdict,
    Question,
    Reply,
    Request,
    Scope,
    Verdict,
)
from pytest_kosli.options import ENVIRON, Level
from pytest_kosli.references import Claim, References, look_up
from pytest_kosli.settings import Settings, no_organisation, no_token, read
from pytest_kosli.text import clean

if TYPE_CHECKING:
    from pytest_kosli.api.http import Http
    from pytest_kosli.deployment import Deployment
    from pytest_kosli.fingerprint import Fingerprint
    from pytest_kosli.fingerprint.reference import Reference


KINDS = ("artifact", "snapshot", "repo", "manifest")
CLOCK = time.perf_counter
"""Bound here, so that a clock frozen in somebody's test moves no deadline."""


class RunClient(KosliClient):
    """The client that tests hold: a question is asked once a run, through the run's ledger."""

    def __init__(self, ledger: Ledger, org: str, **options: Any) -> None:
        super().__init__(org, **options)
        self._ledger = ledger

    def verdict(self, question: Question, artifact: Artifact) -> Verdict:
        """Return the run's one Verdict on a question, under this artifact's name."""
        return self._ledger.verdict(question, artifact)


class Run:
    """One per process, made when the first Kosli thing is met."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.herald = hooks.Herald(config)
        self._scrub = hooks.Scrubber(config)
        self._found: dict[Plan, Found] = {}
        self._leaves_out = False
        self.recorded: set[str] = set()
        """The cassettes that were written, by their paths below the folder, without the suffix."""

    @cached_property
    def settings(self) -> Settings:
        """Return the settings; raises ``pytest.UsageError`` for what can not be meant."""
        return read(self.config, self.environ)

    @property
    def environ(self) -> Mapping[str, str]:
        """Return the environment that the run began with."""
        return self.config.stash[ENVIRON]

    @property
    def asks(self) -> bool:
        """Return whether this run gets answers at all: not in a dry run, not without a token."""
        settings = self.settings
        return not settings.dry_run and (settings.offline or settings.api_token is not None)

    def demand_live(self, whom: str = "Kosli") -> None:
        """Raise NotChecked in a dry run; ``whom`` is who would be asked otherwise."""
        settings = self.settings
        if settings.dry_run:
            raise NotChecked(f"dry run ({settings.origins['dry_run']}): {whom} was not asked")

    @cached_property
    def exchange(self) -> Exchange:
        """Return the one way to Kosli: cassettes, or the network with a recorder beside it."""
        settings = self.settings
        self.demand_live()
        if settings.offline:
            from pytest_kosli.api.cassettes import Cassettes

            cassettes = Cassettes(settings.cassettes)
            return lambda request: cassettes.play(request, self.host)
        # A missing token is told by the request that needs it, not by whoever builds the way.
        return self._record if settings.record else lambda request: self.network(request)

    @cached_property
    def host(self) -> str:
        """Return Kosli's address."""
        return host_of(self.settings)

    @cached_property
    def network(self) -> Http:
        """Return the connections to Kosli; none is open before the first request."""
        from pytest_kosli.api.http import Http

        settings = self.settings
        if settings.api_token is None:
            raise no_token()
        return Http(
            settings.host,
            settings.api_token,
            timeout=settings.timeout,
            max_api_retries=settings.max_api_retries,
            concurrency=settings.concurrency,
            proxy=settings.http_proxy,
            user_agent=f"pytest-kosli/{__version__}",
        )

    def close(self) -> None:
        """Close the connections, where any were made."""
        if "network" in self.__dict__:
            self.network.close()
        if folder := self.__dict__.get("_folder_for_children"):
            rmtree(folder, ignore_errors=True)

    def _record(self, request: Request) -> Reply:
        from pytest_kosli.api.cassettes import Cassettes

        reply = self.network(request)
        kept = self._scrub(request, reply)
        token = self.settings.api_token
        secrets = [token.reveal()] if token else []
        Cassettes(self.settings.cassettes).record(request, kept, self.settings.host, secrets)
        self.recorded.add(request.cassette)
        return reply

    @cached_property
    def ledger(self) -> Ledger:
        """Return the run's ledger, which every question goes through."""
        return Ledger(self._client, self.exchange, self.memo, self._line, self.herald.hear)

    def _line(self) -> Http | None:
        """Return the network, where there is one to set a deadline to."""
        return self.network if self.asks and not self.settings.offline else None

    @cached_property
    def memo(self) -> Memo:
        """Return what the run remembers, together with other workers where there are any."""
        folder = xdist.shared_folder(self.config) or self._folder_for_children
        memo: Memo = SharedMemo(folder) if folder else ProcessMemo()
        xdist.tell_known(self.config, memo)
        return memo

    @cached_property
    def _folder_for_children(self) -> Path | None:
        """Return a private folder where pytest-forked may give tests processes of their own."""
        forks = self.config.pluginmanager.hasplugin("pytest_forked")
        return Path(mkdtemp(prefix="pytest-kosli-")) if forks else None

    @cached_property
    def client(self) -> KosliClient:
        """Return the client that tests hold: questions come from the ledger, all else is fresh."""

        def exchange(request: Request) -> Reply:
            asks = request.segments[0] == "asserts"
            return self.ledger.exchange(request) if asks else self.exchange(request)

        return self._client(exchange, partial(RunClient, self.ledger))

    def _client(
        self, exchange: Exchange, kind: Callable[..., KosliClient] = KosliClient
    ) -> KosliClient:
        settings = self.settings
        if settings.org is None:
            raise no_organisation()
        return kind(
            settings.org,
            host=self.host,
            require_policies=settings.require_policies,
            max_age=settings.max_age,
            allow_list_max_age=settings.allow_list_max_age,
            exchange=exchange,
        )

    # What is asked.

    def found(self, plan: Plan, tell: Left = nobody) -> Found:
        """Return the checks that a plan leads to; looked for once in a process.

        What is late is looked for again, and ``tell`` hears how many seconds are left.
        """
        if plan not in self._found:
            found = self._found[plan] = self._find(plan, tell)
            self._leaves_out |= bool(found.left_out)
        return self._found[plan]

    def _find(self, plan: Plan, tell: Left) -> Found:
        groups = self._groups(plan)
        if plan.sources is None or not plan.sources.named:
            groups += self._contributed(plan)
        at_least = plan.sources.at_least if plan.sources else 1
        with self._in_time():
            found = self._discovery.find(groups, at_least)
        if not (self.settings.waits and is_late(found, groups)):
            return found

        def look(exchange: Exchange) -> bool:
            discovery = self._discover(lambda: self._client(exchange))
            return not is_late(discovery.find(groups, at_least), groups)

        begun, limit = CLOCK(), self.settings.timeout
        self.ledger.look_again(repr(plan), look, self._late_time, limit, tell)
        self._late_time -= CLOCK() - begun
        return self._discovery.find(groups, at_least)

    @cached_property
    def _contributors(self) -> list[hooks.Implementation]:
        return hooks.implementations(self.config, ARTIFACTS)

    @cached_property
    def _given(self) -> tuple[Given, ...]:
        """Return what plugins contribute; each is asked once a run, in the time that it takes."""
        asked = self._contributors
        if not asked:
            return ()
        try:
            if not self.settings.offline:
                _ = self.network  # Without a token no plugin is asked either.
            client = self.client
            plain = self.memo.once(
                ARTIFACTS, lambda: hooks.contributions(asked, self.config, client)
            )
        except NoVerdict as error:
            return tuple(Given(one.plugin, problem=error) for one in asked)
        return tuple(hooks.given_in(plain))

    def _contributed(self, plan: Plan) -> list[Sources]:
        """Return what plugins contribute as one more row of sources, if there are any plugins."""
        if not self._given:
            return []
        settings = self.settings
        marked = plan.sources or Sources()
        beside = plan.scope or settings.judged_by("hook")
        return [
            Sources(
                given=tuple(replace(given, beside=beside) for given in self._given),
                without=marked.without or settings.without,
                origin="hook",
                judged_by=plan.scope or settings.scope,
            )
        ]

    def contributed(self) -> dict[str, Found]:
        """Return what each plugin's artifacts lead to, by its name, and who came too late."""
        groups = self._contributed(Plan())
        with self._in_time():
            found = {
                str(given): self._discovery.find([replace(group, given=(given,))], at_least=0)
                for group in groups
                for given in group.given
            }
        for one in hooks.implementations(self.config, ARTIFACTS):
            if one not in self._contributors:
                found[str(one)] = Found((Check(str(one), problem=_too_late(one)),))
        return {name: them for name, them in found.items() if them.checks or them.left_out}

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Give all discovery of the run together the time that one request may take."""
        line = self._line()
        limit = line.deadline(max(self._discovery_time, 0.0)) if line else nullcontext()
        begun = CLOCK()
        try:
            with limit:
                yield
        finally:
            self._discovery_time -= CLOCK() - begun

    @cached_property
    def _discovery_time(self) -> float:
        return self.settings.timeout

    @cached_property
    def _late_time(self) -> float:
        """The seconds that all discovery of the run together may wait."""
        return self.settings.waits

    def flagged(self) -> dict[str, Found]:
        """Return what each flag that names artifacts leads to, by the flag as typed."""
        with self._in_time():
            return {
                f"--kosli-{kind} {text}": self._discovery.find([self._group(kind, (text,), Plan())])
                for kind in KINDS
                for text in self.settings.from_flag(kind)
            }

    def checks(self, item: pytest.Item) -> tuple[Check, ...]:
        """Return what an item is judged on: its own parameter, or all of its marks' artifacts.

        Raises NoVerdict for marks that can not be read.
        """
        plan = plan_of(item)
        if plan is None:
            return ()
        callspec = getattr(item, "callspec", None)
        own = callspec.params.get(ARGUMENT) if callspec else getattr(item, "parametrised", None)
        if isinstance(own, Parametrised) and own.plan == plan:
            return (own.check,)
        return self.found(plan).checks

    def questions(self, items: Iterable[pytest.Item]) -> list[Question]:
        """Return the questions that items will ask, each once."""
        checks = (check for item in items for check in self.readable(item))
        return list(dict.fromkeys(self.asked_by(checks)))

    def asked_by(self, checks: Iterable[Check]) -> Iterator[Question]:
        """Yield the question of each check that its test will ask."""
        return (question for question in map(self._question, checks) if question)

    def _question(self, check: Check) -> Question | None:
        """Return the question of a check; None for one that its test will refuse to ask."""
        try:
            if check.artifact:
                return self.ledger.client.question(check.artifact, check.scope)
        except NoVerdict:
            pass
        return None

    def passed_over(self) -> list[str]:
        """Return the objects without an image in manifests that were read since the last call."""
        return self.deployment.passed_over() if "deployment" in self.__dict__ else []

    @property
    def width(self) -> int:
        """Return how many requests are under way at once; threads gain nothing over cassettes."""
        return 1 if self.settings.offline else self.settings.concurrency

    def outwait(self, questions: Iterable[Question], tell: Left = nobody) -> None:
        """Ask again about what is late among questions, as long as the settings say."""
        settings = self.settings
        if settings.waits:
            self.ledger.outwait(questions, self.width, settings.waits, settings.timeout, tell)

    def patience(self, questions: int) -> float:
        """Return the seconds that so many questions may take together.

        What one may take with all its retries, and two seconds more for each round of them.
        """
        settings = self.settings
        rounds = math.ceil(questions / settings.concurrency)
        return settings.timeout * (settings.max_api_retries + 1) + 2.0 * rounds

    def readable(self, item: pytest.Item) -> tuple[Check, ...]:
        """Return what an item is judged on; nothing for marks that its own set-up will refuse."""
        try:
            return self.checks(item)
        except NoVerdict:
            return ()

    def names_sources(self, item: pytest.Item) -> bool:
        """Return whether an item's marks name artifacts, so that it does not stand for flags."""
        try:
            plan = plan_of(item)
        except NoVerdict:
            return True
        return bool(plan and plan.sources and plan.sources.named)

    def left_out(self, item: pytest.Item) -> tuple[str, ...]:
        """Return the names that ``without`` left out of an item's artifacts."""
        plan = plan_of(item) if self._leaves_out else None
        found = self._found.get(plan) if plan else None
        return found.left_out if found else ()

    @cached_property
    def _discovery(self) -> Discovery:
        return self._discover(lambda: self.ledger.client)

    def _discover(self, client: Callable[[], KosliClient]) -> Discovery:
        age = self.settings.max_snapshot_age
        return Discovery(client, self.references.artifact, age, self._deployed)

    def _deployed(self, path: str, group: Sources) -> Iterable[Check]:
        return self.deployment.checks(path, group)

    def look(
        self, groups: Iterable[Sources], heard: Callable[[Reply], object] = lambda reply: None
    ) -> Found:
        """Return what sources lead to now: a test may have deployed since the run began.

        ``heard`` is told each reply of Kosli's. Finding nothing is for the caller to judge.
        """

        def exchange(request: Request) -> Reply:
            reply = self.exchange(request)
            heard(reply)
            return reply

        return self._discover(lambda: self._client(exchange)).find(groups, at_least=0)

    def about_to_run(self) -> list[Sources]:
        """Return what the settings name that may not run yet: artifacts and manifests."""
        return [
            Sources(group.references, manifests=group.manifests, origin=group.origin)
            for group in self._groups(Plan())
        ]

    @cached_property
    def _bases(self) -> dict[str, Path]:
        return bases(self.config)

    @cached_property
    def references(self) -> References:
        """Return what turns references into artifacts."""
        custom = partial(hooks.fingerprint, self.config)
        return References(self.memo, self._bases, self._look_up, custom)

    @cached_property
    def deployment(self) -> Deployment:
        """Return what turns manifests into checks."""
        from pytest_kosli.deployment import Deployment

        return Deployment(
            self.memo,
            self._bases,
            self.references.artifact,
            lambda jobs: self.ledger.side_by_side(jobs, self.width),
            require_digests=self.settings.require_digests,
        )

    def _look_up(self, reference: Reference, claim: Claim) -> Fingerprint:
        """Return what registry or engine say of an image, in a run that asks anybody at all."""
        settings = self.settings
        self.demand_live()
        if settings.offline:
            raise offline_image(reference)
        retries = settings.max_api_retries
        return look_up(reference, claim, timeout=settings.timeout, max_api_retries=retries)

    def _groups(self, plan: Plan) -> list[Sources]:
        """Return the sources of a plan, each with the scope that belongs to it."""
        sources, settings = plan.sources, self.settings
        if sources is None or not sources.named:
            return [self._group(kind, getattr(settings, kind), plan) for kind in KINDS]
        where_it_runs = plan.scope or Scope(flow=settings.flow)
        sources = replace(
            sources,
            without=sources.without or settings.without,
            provider=sources.provider or settings.provider,
        )
        return [
            replace(sources, snapshots=(), repos=(), judged_by=plan.scope or settings.scope),
            replace(sources, references=(), manifests=(), judged_by=where_it_runs),
        ]

    def _group(self, kind: str, texts: tuple[str, ...], plan: Plan) -> Sources:
        """Return one row of the settings as sources, where a mark does not overrule it."""
        group, marked = named_by(self.settings, kind, texts), plan.sources or Sources()
        return replace(
            group,
            provider=marked.provider or group.provider,
            without=marked.without or group.without,
            judged_by=plan.scope or group.judged_by,
        )


def named_by(settings: Settings, kind: str, texts: tuple[str, ...]) -> Sources:
    """Return one row of the settings as sources."""
    return Sources(
        references=texts if kind == "artifact" else (),
        snapshots=texts if kind == "snapshot" else (),
        repos=texts if kind == "repo" else (),
        manifests=texts if kind == "manifest" else (),
        provider=settings.provider,
        without=settings.without,
        origin="flag" if settings.from_flag(kind) else "ini",
        judged_by=settings.judged_by(kind),
    )


def bases(config: pytest.Config) -> dict[str, Path]:
    """Return where relative paths start: where each was written, a call's in the folder then."""
    root, here = config.rootpath, config.invocation_params.dir
    ini = config.inipath.parent if config.inipath else root
    return {"marker": root, "ini": ini, "flag": here, "hook": root}


def host_of(settings: Settings) -> str:
    """Return Kosli's address; offline and with none given, the one that cassettes name."""
    if settings.offline and settings.origins["host"].level is Level.DEFAULT:
        from pytest_kosli.api.cassettes import Cassettes

        return Cassettes(settings.cassettes).host()
    return settings.host


def offline_image(reference: Reference) -> NoVerdict:
    """Return the error of an image that only others know, in a run that asks nobody."""
    return NoVerdict(
        "offline_image",
        f"{clean(reference.text)} has to be asked of a registry or an engine, and this run "
        "is offline",
        "Name the image by its digest: IMAGE@sha256:...",
    )


def _too_late(one: hooks.Implementation) -> NoVerdict:
    return NoVerdict(
        "late_hook",
        f"the hook {one} came when the plugins of this run had been asked already",
        "Move it to the conftest.py of the root folder, or into a plugin: a folder below is only "
        "entered when its tests are collected.",
    )
