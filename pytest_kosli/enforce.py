"""From verdicts to exceptions: what a mark or a call asks is looked up, noted down, and raised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn, TypeVar

import pytest

from pytest_kosli.answers import ArtifactDetails
from pytest_kosli.discovery import Check
from pytest_kosli.explain import explain_all
from pytest_kosli.model import KosliError, NotChecked, NotCompliant, NoVerdict, Outcome, Verdict
from pytest_kosli.plugin import CURRENT
from pytest_kosli.report.facts import Facts, facts_of
from pytest_kosli.run import Run

T = TypeVar("T", Verdict, NoVerdict, NotChecked)
FACTS = pytest.StashKey[list[Facts]]()
VERDICTS = pytest.StashKey[list[Verdict]]()


class Enforcer:
    """Look verdicts up and raise what refuses; every check is noted on the item that runs."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def gate(self, item: pytest.Item) -> None:
        """Judge an item on all that its marks ask for, before anything of it is set up.

        Raises NotCompliant for refusing verdicts, NoVerdict for missing ones, NotChecked in a dry
        run.
        """
        try:
            verdicts = self._enforce(lambda: self._run.checks(item), "mark", item.nodeid)
            item.stash[VERDICTS] = verdicts
        except pytest.UsageError as error:
            raise self._note(Check(item.nodeid), usage_error(error), "mark") from None

    def foresee(self, items: Iterable[pytest.Item]) -> Iterator[Verdict | NoVerdict]:
        """Yield what will stand against items when they are set up; nothing is noted on them."""
        looked_at: set[str] = set()
        for item in items:
            try:
                checks = self._run.checks(item)
            except NoVerdict as error:
                yield error
                continue
            for check in checks:
                try:
                    verdict = self._verdict(check, looked_at)
                except NoVerdict as error:
                    yield error
                else:
                    if self._refuses(verdict):
                        yield verdict

    def refuse(self, name: str, error: NoVerdict) -> NoReturn:
        """Raise a NoVerdict about the run, after noting it as the facts of the item that runs."""
        raise self._note(Check(name), error, "mark")

    def call(self, name: str, checks: Callable[[], Sequence[Check]]) -> list[Verdict]:
        """Return the verdicts on what a test asks about by itself, or raise as ``gate`` does."""
        __tracebackhide__ = True
        item = self._run.config.stash.get(CURRENT, None)
        name = f"{name} of {item.nodeid}" if item else name
        try:
            return self._enforce(checks, "call", name)
        except pytest.UsageError as error:
            raise self._note(Check(name), usage_error(error), "call") from None
        except KosliError as error:
            # The test's own line is what its reader needs, not the way through our rooms.
            raise error.with_traceback(None) from None

    def _enforce(self, checks: Callable[[], Sequence[Check]], by: str, name: str) -> list[Verdict]:
        __tracebackhide__ = True
        try:
            self._run.demand_live()
            asked = checks()
            self._run.outwait(self._run.asked_by(asked))
        except NotChecked as skipped:
            raise self._note(Check(name), skipped, by) from None
        except NoVerdict as error:
            raise self._note(Check(name), error, by) from None
        looked_at: set[str] = set()
        verdicts: list[Verdict] = []
        problems: list[NoVerdict] = []
        for check in asked:
            try:
                verdicts.append(self._note(check, self._verdict(check, looked_at), by))
            except NoVerdict as error:
                problems.append(self._note(check, error, by))
        refused = tuple(verdict for verdict in verdicts if self._refuses(verdict))
        if refused:
            built = {verdict.question: self.built_by(verdict) for verdict in refused}
            raise NotCompliant("\n".join(explain_all(refused, built)), refused)
        if problems:
            raise problems[0]
        return verdicts

    def _verdict(self, check: Check, looked_at: set[str]) -> Verdict:
        """Return the verdict on a check; what was hashed for it is looked at once, and then noted.

        That comes last: to ask may take its time.
        """
        if check.problem is not None:
            raise check.problem
        assert check.artifact is not None  # noqa: S101 - a check without a problem has one
        question = self._run.ledger.client.question(check.artifact, check.scope)
        verdict = self._run.ledger.verdict(question, check.artifact)
        if (hashed := check.artifact.origin.hashed) and hashed not in looked_at:
            self._run.references.verify(check.artifact)
            looked_at.add(hashed)
        return verdict

    def _refuses(self, verdict: Verdict) -> bool:
        if verdict.outcome is Outcome.ALLOW_LISTED:
            return self._run.settings.allow_listed == "fail"
        return verdict.outcome is not Outcome.COMPLIANT

    def built_by(self, verdict: Verdict) -> str:
        """Return who built what was refused; a look-up that fails explains nothing, and no more."""
        if not verdict.flows or verdict.outcome is Outcome.UNKNOWN_ARTIFACT:
            return ""
        try:
            flow, _ = verdict.flows[0]
            client = self._run.ledger.client
            return built_by(client.artifact(verdict.question.fingerprint, flow))
        except NoVerdict:
            return ""

    def _note(self, check: Check, result: T, by: str) -> T:
        """Put a result on the item that runs now, as the plain facts that its report will carry."""
        refused = isinstance(result, Verdict) and self._refuses(result)
        facts = facts_of(check.name, check.artifact, check.scope, result, refused, by)
        note(self._run.config, facts)
        return result


def note(config: pytest.Config, facts: Facts) -> None:
    """Put facts on the item that runs now; its report will carry them."""
    item = config.stash.get(CURRENT, None)
    if item is not None:
        item.stash.setdefault(FACTS, []).append(facts)


def take_facts(item: pytest.Item) -> list[Facts]:
    """Return what was noted on an item since the last call."""
    facts = item.stash.get(FACTS, [])
    if facts:
        del item.stash[FACTS]
    return facts


def usage_error(error: pytest.UsageError) -> NoVerdict:
    """Return a usage error as the NoVerdict of one test, where the run can no longer be stopped."""
    return NoVerdict("usage_error", str(error), "Mend the setting, then run this again.")


def built_by(details: ArtifactDetails) -> str:
    """Return commit, branch, author, repository and build of an artifact, as far as known."""
    commit, repo = details.git_commit_info, details.repo_info
    parts = [f"from {(details.git_commit or '')[:7]}" if details.git_commit else ""]
    if commit:
        parts += [f"on {commit.branch}" if commit.branch else ""]
        parts += [f"by {commit.author}" if commit.author else ""]
    parts += [f"in {repo.name}" if repo and repo.name else ""]
    lines = (commit.message or "").splitlines() if commit else []
    text = " ".join(part for part in parts if part) + (f": {lines[0]}" if lines else "")
    return f"{text}, {details.build_url}" if details.build_url else text
