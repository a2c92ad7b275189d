"""The state of one run: its settings, its way to Kosli, and what each item asks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kosli import __version__, xdist
from pytest_kosli.api.host import Exchange
from pytest_kosli.api.kosli import KosliClient
from pytest_kosli.discovery import Check, Discovery, Found, Sources
from pytest_kosli.ledger import Ledger, Memo, ProcessMemo
from pytest_kosli.marker import ARGUMENT, Parametrised, Plan, plan_of
from pytest_kosli.model import NotChecked, NoVerdict, Question, Reply, Request, Scope
from pytest_kosli.options import Level
from pytest_kosli.references import Claim, References, look_up
from pytest_kosli.settings import Settings, read
from pytest_kosli.text import clean

if TYPE_CHECKING:
    from pytest_kosli.api.http import Http
    from pytest_kosli.fingerprint import Fingerprint
    from pytest_kosli.fingerprint.reference import Reference


KINDS = ("artifact", "snapshot", "repo")
CLOCK = time.perf_counter
"""Bound here, so that a clock frozen in somebody's test moves no deadline."""


class Run:
    """One per process, made when the first Kosli thing is met."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._found: dict[Plan, Found] = {}

    @cached_property
    def settings(self) -> Settings:
        """Return the settings; raises ``pytest.UsageError`` for what can not be meant."""
        return read(self.config)

    @property
    def asks(self) -> bool:
        """Return whether this run gets answers at all: not in a dry run, not without a token."""
        settings = self.settings
        return not settings.dry_run and (settings.offline or settings.api_token is not None)

    def demand_live(self) -> None:
        """Raise NotChecked in a dry run."""
        settings = self.settings
        if settings.dry_run:
            raise NotChecked(f"dry run ({settings.origins['dry_run']}): Kosli was not asked")

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
        """Return Kosli's address; offline and with none given, the one that cassettes name."""
        settings = self.settings
        if settings.offline and settings.origins["host"].level is Level.DEFAULT:
            from pytest_kosli.api.cassettes import Cassettes

            return Cassettes(settings.cassettes).host()
        return settings.host

    @cached_property
    def network(self) -> Http:
        """Return the connections to Kosli; none is open before the first request."""
        from pytest_kosli.api.http import Http

        settings = self.settings
        if settings.api_token is None:
            raise NoVerdict(
                "no_token",
                "there is no API token for Kosli",
                "Set KOSLI_API_TOKEN (a service account with the role reader is enough), or run "
                "with --kosli-offline from cassettes.",
            )
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

    def _record(self, request: Request) -> Reply:
        from pytest_kosli.api.cassettes import Cassettes

        reply = self.network(request)
        token = self.settings.api_token
        secrets = [token.reveal()] if token else []
        Cassettes(self.settings.cassettes).record(request, reply, self.settings.host, secrets)
        return reply

    @cached_property
    def ledger(self) -> Ledger:
        """Return the run's ledger, which every question goes through."""
        return Ledger(self._client, self.exchange, self.memo, self._line)

    def _line(self) -> Http | None:
        """Return the network, where there is one to set a deadline to."""
        return self.network if self.asks and not self.settings.offline else None

    @cached_property
    def memo(self) -> Memo:
        """Return what the run remembers, together with other workers where there are any."""
        folder = xdist.shared_folder(self.config)
        return xdist.SharedMemo(folder) if folder else ProcessMemo()

    @cached_property
    def client(self) -> KosliClient:
        """Return the client that tests hold: questions come from the ledger, all else is fresh."""

        def exchange(request: Request) -> Reply:
            asks = request.segments[0] == "asserts"
            return self.ledger.exchange(request) if asks else self.exchange(request)

        return self._client(exchange)

    def _client(self, exchange: Exchange) -> KosliClient:
        settings = self.settings
        if settings.org is None:
            raise pytest.UsageError(
                "no organisation is named: set --kosli-org, KOSLI_ORG, or kosli_org in the ini file"
            )
        return KosliClient(
            settings.org,
            host=self.host,
            require_policies=settings.require_policies,
            max_age=settings.max_age,
            allow_list_max_age=settings.allow_list_max_age,
            exchange=exchange,
        )

    # What is asked.

    def found(self, plan: Plan) -> Found:
        """Return the checks that a plan leads to; looked for once in a process."""
        if plan not in self._found:
            at_least = plan.sources.at_least if plan.sources else 1
            with self._in_time():
                self._found[plan] = self._discovery.find(self._groups(plan), at_least)
        return self._found[plan]

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

    def flagged(self) -> dict[str, Found]:
        """Return what each artifact, snapshot and repo flag leads to, by the flag as typed."""
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
        asked = (self._question(check) for item in items for check in self.readable(item))
        return list(dict.fromkeys(question for question in asked if question))

    def _question(self, check: Check) -> Question | None:
        """Return the question of a check; None for one that its test will refuse to ask."""
        try:
            if check.artifact:
                return self.ledger.client.question(check.artifact, check.scope)
        except NoVerdict:
            pass
        return None

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
        plan = plan_of(item)
        return self._found[plan].left_out if plan in self._found else ()

    @cached_property
    def _discovery(self) -> Discovery:
        return Discovery(
            lambda: self.ledger.client, self.references.artifact, self.settings.max_snapshot_age
        )

    @cached_property
    def references(self) -> References:
        """Return what turns references into artifacts; paths start where each was written."""
        root, here = self.config.rootpath, self.config.invocation_params.dir
        inipath = self.config.inipath
        ini = inipath.parent if inipath else root
        bases = {"marker": root, "ini": ini, "flag": here, "call": Path.cwd()}
        return References(self.memo, bases, self._look_up, self._ask_hook)

    def _look_up(self, reference: Reference, claim: Claim) -> Fingerprint:
        """Return what registry or engine say of an image, in a run that asks anybody at all."""
        settings = self.settings
        self.demand_live()
        if settings.offline:
            raise NoVerdict(
                "offline_image",
                f"{clean(reference.text)} has to be asked of a registry or an engine, and this run "
                "is offline",
                "Name the image by its digest: IMAGE@sha256:...",
            )
        retries = settings.max_api_retries
        return look_up(reference, claim, timeout=settings.timeout, max_api_retries=retries)

    def _ask_hook(self, reference: str) -> object:
        hook = self.config.hook.pytest_kosli_fingerprint
        return hook(config=self.config, reference=reference)

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
            replace(sources, references=(), judged_by=where_it_runs),
        ]

    def _group(self, kind: str, texts: tuple[str, ...], plan: Plan) -> Sources:
        """Return one row of the settings as sources."""
        settings = self.settings
        marked = plan.sources or Sources()
        return Sources(
            references=texts if kind == "artifact" else (),
            snapshots=texts if kind == "snapshot" else (),
            repos=texts if kind == "repo" else (),
            provider=marked.provider or settings.provider,
            without=marked.without or settings.without,
            origin="flag" if settings.from_flag(kind) else "ini",
            judged_by=plan.scope or self._named_beside(kind),
        )

    def _named_beside(self, kind: str) -> Scope:
        """Return the settings' scope; for a snapshot or repo only one named at least as high up.

        A snapshot on the command line names its environment there, so a variable left over in the
        job must not quietly send its artifacts before other policies.
        """
        settings = self.settings
        named = settings.origins["environment" if settings.environment else "policy"]
        if kind == "artifact" or named.level <= settings.origins[kind].level:
            return settings.scope
        return Scope(flow=settings.flow)
