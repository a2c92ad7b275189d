"""What our fixtures hand to tests: the judged artifact, and the assertion for everything else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

from pytest_kosli import marker
from pytest_kosli.discovery import Check
from pytest_kosli.model import Artifact, NoVerdict, Scope, Verdict
from pytest_kosli.shape import several

if TYPE_CHECKING:
    from pytest_kosli.answers import ArtifactDetails
    from pytest_kosli.api.kosli import KosliClient
    from pytest_kosli.enforce import Enforcer
    from pytest_kosli.run import Run


class KosliArtifact:
    """The artifact that a marked test runs for; Kosli has called it compliant by then."""

    def __init__(self, verdict: Verdict, client: KosliClient) -> None:
        self.verdict = verdict
        self._client = client

    def __repr__(self) -> str:
        return f"<KosliArtifact {self.pinned}>"

    @property
    def name(self) -> str:
        """Return the name it was found or named under."""
        return self.verdict.artifact.name

    @property
    def fingerprint(self) -> str:
        """Return its SHA256, 64 lower-case hexadecimal digits."""
        return self.verdict.artifact.fingerprint

    @property
    def environment(self) -> str | None:
        """Return where discovery saw it run, or None."""
        return self.verdict.artifact.environment

    @property
    def pinned(self) -> str:
        """Return ``name@sha256:...``, so that what was judged is what is shipped."""
        return self.verdict.artifact.pinned

    @cached_property
    def details(self) -> ArtifactDetails:
        """Return commit, repository and build; asked of Kosli when touched.

        Endpoint: ``GET /artifacts/{org}/{flow}/fingerprint/{fingerprint}``, for the first flow that
        holds it. Raises NoVerdict when there is no answer.
        """
        if not self.verdict.flows:
            raise NoVerdict(
                "no_flows",
                f"{self.verdict.artifact.label}: Kosli names no flow that holds it",
                "Ask kosli_client.artifact(fingerprint, flow) with the flow you mean.",
                artifact=self.verdict.artifact,
            )
        return self._client.artifact(self.fingerprint, self.verdict.flows[0][0])


Named = str | Artifact | KosliArtifact


class AssertCompliant:
    """``assert_compliant(artifact)``: the Verdict, or an exception. Of a list, a list."""

    def __init__(self, run: Run, enforcer: Enforcer) -> None:
        self._run = run
        self._enforcer = enforcer

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is one artifact, not a list of letters
        self,
        artifact: Named,
        *,
        environment: str | None = None,
        policy: str | Sequence[str] | None = None,
        flow: str | None = None,
    ) -> Verdict: ...

    @overload
    def __call__(
        self,
        artifact: Iterable[Named],
        *,
        environment: str | None = None,
        policy: str | Sequence[str] | None = None,
        flow: str | None = None,
    ) -> list[Verdict]: ...

    def __call__(
        self,
        artifact: Named | Iterable[Named],
        *,
        environment: str | None = None,
        policy: str | Sequence[str] | None = None,
        flow: str | None = None,
    ) -> Verdict | list[Verdict]:
        """Return the verdict on an artifact, or one for each of several.

        An artifact is a reference (``sha256:...``, ``image@sha256:...``, a path) or an Artifact.
        It is judged against what the call names, else against what the settings name. Raises
        NotCompliant, which tells all that is refused together; NoVerdict without an answer to any
        of them, also for an empty list; NotChecked in a dry run.
        """
        __tracebackhide__ = True

        def checks() -> list[Check]:
            scope = _scope(environment, policy, flow) or self._run.settings.scope
            return [self._check(one, scope) for one in _several(artifact)]

        verdicts = self._enforcer.call("assert_compliant", checks)
        return verdicts[0] if isinstance(artifact, Named) else verdicts

    def _check(self, artifact: Named, scope: Scope) -> Check:
        if isinstance(artifact, KosliArtifact):
            artifact = artifact.verdict.artifact
        if isinstance(artifact, Artifact):
            return Check(artifact.name, artifact, scope)
        try:
            found = self._run.references.artifact(artifact, "call")
        except NoVerdict as error:
            return Check(artifact, problem=error)
        return Check(found.name, found, scope)


def _several(artifact: Named | Iterable[Named]) -> list[Named]:
    named = several(artifact, Named)
    for one in named:
        if not isinstance(one, Named):
            raise _bad_call(f"{one!r} is neither an artifact nor a reference")
    if not named:
        raise NoVerdict(
            "no_artifacts",
            "assert_compliant was given no artifact at all",
            "An empty list proves nothing: look at what was to fill it.",
        )
    return named


def _scope(
    environment: str | None, policy: str | Sequence[str] | None, flow: str | None
) -> Scope | None:
    """Return the scope that a call names, by the rules of the mark; None where it names none."""
    try:
        return marker.kosli(environment=environment, policy=policy, flow=flow).scope
    except ValueError as error:
        raise _bad_call(str(error)) from None


def _bad_call(why: str) -> NoVerdict:
    return NoVerdict(
        "bad_call",
        f"assert_compliant: {why}",
        "Call assert_compliant(artifact_or_list, environment=..., policy=..., flow=...).",
    )
