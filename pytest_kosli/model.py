"""The words of pytest-kosli as types: Artifact, Scope, Question, Verdict, and its exceptions.

Everything else in the package speaks in these; this module imports nothing of ours. A run holds
tens of thousands of them, and none can be part of a cycle: so they are Structs that the garbage
collector passes by, which is a good part of what an answer costs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from msgspec import Struct
from msgspec.structs import force_setattr

DOCS = "https://pytest-kosli.readthedocs.io/en/stable/errors/"
"""Where every error message points to; each anchor is a heading of ``docs/errors.md``."""


class Outcome(enum.Enum):
    """What Kosli's answer amounts to. A refusal would be true as well, so it has no truth value."""

    COMPLIANT = "COMPLIANT"
    ALLOW_LISTED = "ALLOW_LISTED"
    NON_COMPLIANT = "NON_COMPLIANT"
    UNKNOWN_ARTIFACT = "UNKNOWN_ARTIFACT"

    @property
    def label(self) -> str:
        """Return the outcome as people read it: ``non-compliant``."""
        return self.value.lower().replace("_", "-").replace("unknown-artifact", "unknown artifact")

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "an Outcome has no truth value: write `verdict.outcome is Outcome.COMPLIANT`, "
            "or use assert_compliant(...)"
        )


class Origin(Struct, frozen=True, gc=False):
    """Where we learned of an artifact.

    ``source`` is ``marker``, ``flag``, ``ini``, ``call``, ``snapshot``, ``repo``, ``manifest`` or
    ``hook``; ``detail`` is what was typed or asked there (a reference, ``prod#42``,
    ``acme/payments``, the places in a manifest).
    ``resolved`` says how a reference became a fingerprint, ``excluded`` which paths of a directory
    were left out of it, ``reported`` what a snapshot itself says of the artifact, ``hashed`` by
    what the run knows the file or folder again that it was hashed from.
    """

    source: str
    detail: str = ""
    resolved: str = ""
    excluded: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    reported: bool | None = None
    hashed: str = ""


class Artifact(Struct, frozen=True, gc=False):
    """A built thing: its SHA256 fingerprint (64 lower-case hex), its name, and its origin.

    ``environment`` is where discovery saw it run, else None.
    """

    fingerprint: str
    name: str
    origin: Origin = Origin("call")
    environment: str | None = None

    @property
    def short(self) -> str:
        """Return a name that people recognise: no registry, no tag, no digest."""
        last = self.name.split("@", 1)[0].rstrip("/").rsplit("/", 1)[-1]
        return last.split(":", 1)[0] or self.name

    @property
    def label(self) -> str:
        """Return the short name and the first seven digits: ``payments 3f1b9c2``."""
        digits = self.fingerprint[:7]
        return self.short if self.short == digits else f"{self.short} {digits}"

    @property
    def pinned(self) -> str:
        """Return ``name@sha256:...``, so that what was judged is what is shipped."""
        name = self.name.split("@", 1)[0]
        head, slash, last = name.rpartition("/")
        return f"{head}{slash}{last.split(':', 1)[0]}@sha256:{self.fingerprint}"

    def is_named(self, patterns: Iterable[str]) -> bool:
        """Return whether one of some shell patterns fits the name or the short one."""
        return any(
            fnmatchcase(name, pattern) for pattern in patterns for name in (self.name, self.short)
        )


ANY_FLOW = "*"


class Scope(Struct, frozen=True, gc=False):
    """What an artifact is judged against.

    An *environment*'s policies, named *policies*, or, with neither, the templates of its *flow*
    (``"*"`` for every flow that holds it). ``flow`` narrows the first two as well.
    """

    environment: str | None = None
    policies: tuple[str, ...] = ()
    flow: str | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "policies", tuple(sorted(set(self.policies))))

    @property
    def kind(self) -> str:
        """Return the word Kosli echoes for it: ``environment``, ``policy`` or ``flow``."""
        return "environment" if self.environment else "policy" if self.policies else "flow"

    @property
    def flow_name(self) -> str | None:
        """Return the one flow to look in, or None for all of them."""
        return None if self.flow == ANY_FLOW else self.flow

    def __bool__(self) -> bool:
        return bool(self.environment or self.policies or self.flow)

    def __str__(self) -> str:
        parts = []
        if self.environment:
            parts.append(f"environment {self.environment}")
        if self.policies:
            word = "policy" if len(self.policies) == 1 else "policies"
            parts.append(f"{word} {', '.join(self.policies)}")
        if self.flow == ANY_FLOW:
            parts.append("any flow" if parts else "the templates of every flow")
        elif self.flow:
            parts.append(f"flow {self.flow}")
        return ", ".join(parts) or "nothing"


class Question(Struct, frozen=True, gc=False):
    """One request to Kosli's assert endpoint: is this fingerprint compliant in this scope?

    Equality is identity: two names for one digest are one question.
    """

    host: str
    org: str
    fingerprint: str
    scope: Scope


REPLY_LIMIT = 4 * 1024 * 1024
"""Bytes: far more than any answer about one thing is long."""


class Request(Struct, frozen=True, gc=False):
    """One HTTP request in plain data, before any library sees it.

    ``segments`` are path segments below ``/api/v2``, not yet encoded. ``cassette`` is the path of
    its recording below the cassettes folder, without the suffix. ``limit`` is the largest reply
    that is read, in bytes, compressed or not.
    """

    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    cassette: str = ""
    method: str = "GET"
    body: bytes = b""
    limit: int = REPLY_LIMIT


class Waited(Struct, frozen=True, gc=False):
    """How long a settled answer was waited for: seconds, and how often the question was asked.

    Of the ``asked`` times, the last ``unheard`` got no reply.
    """

    seconds: float = 0.0
    asked: int = 1
    unheard: int = 0


class Reply(Struct, frozen=True, gc=False):
    """What came back, in plain data that can cross processes and go into a cassette.

    ``body`` is decompressed; ``attempts`` counts the requests that were sent for it;
    ``received_at`` is when the server was heard (UTC); ``replayed`` says it is from a cassette;
    ``waited`` is None where nobody waited for it.
    """

    status: int
    body: bytes
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    attempts: int = 1
    received_at: datetime | None = None
    replayed: bool = False
    waited: Waited | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """A request and Kosli's reply, as a cassette is about to hold them; ``body`` may be scrubbed.

    ``request.segments`` and ``request.query`` say what was asked.
    """

    request: Request
    status: int
    content_type: str
    body: bytes


class Reason(Struct, frozen=True, gc=False):
    """One thing that stands between an artifact and compliance.

    ``code`` is stable and documented; the other fields are Kosli's own words where it gave them.
    """

    code: str
    policy: str = ""
    rule: str = ""
    control: str = ""
    attestation: str = ""
    attestation_type: str = ""
    flow: str = ""
    trail: str = ""
    detail: str = ""


class Policy(Struct, frozen=True, gc=False):
    """A policy that Kosli evaluated, its version and its status in Kosli's spelling."""

    name: str
    version: int | None = None
    status: str = ""


class AllowListing(Struct, frozen=True, gc=False):
    """Who let a non-compliant artifact into an environment, when (UTC), and why."""

    by: str = ""
    at: datetime | None = None
    why: str = ""
    id: str = ""


class Verdict(Struct, frozen=True, gc=False):
    """What the Judge makes of a Question and Kosli's answer to it.

    It has no truth value: ``verdict.outcome is Outcome.COMPLIANT`` is the test.
    """

    outcome: Outcome
    question: Question
    artifact: Artifact
    reasons: tuple[Reason, ...] = ()
    policies: tuple[Policy, ...] = ()
    allow_listing: AllowListing | None = None
    flows: tuple[tuple[str, str], ...] = ()
    link: str = ""
    note: str = ""
    evaluated_at: datetime | None = None
    replayed: bool = False
    received_at: datetime | None = None
    status: int = 200
    attempts: int = 1
    reply_sha256: str = ""
    waited: Waited | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a Verdict has no truth value: compare verdict.outcome with Outcome.COMPLIANT, "
            "or use assert_compliant(...)"
        )


class KosliError(Exception):
    """The family of everything pytest-kosli raises besides usage errors."""

    __module__ = "pytest_kosli"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy or another process makes it: by its state, not by its constructor."""
        return type(self).__new__, (type(self), *self.args), vars(self)


class NotCompliant(AssertionError, KosliError):
    """Kosli gave a verdict, and it refuses the artifact. Carries the refusing verdicts."""

    __module__ = "pytest_kosli"

    def __init__(self, message: str, verdicts: tuple[Verdict, ...]) -> None:
        super().__init__(message)
        self.verdicts = verdicts


@dataclass(eq=False)
class NoVerdict(KosliError):
    """Something kept us from a verdict: never green, never a failure of the artifact.

    ``code`` is stable and is the heading in the docs; ``message`` says what happened, ``todo`` what
    to do. ``status``, ``errors`` and ``attempts`` are what the server said and how often it was
    asked, where there was a server; ``waited`` is how long a better answer was waited for, if at
    all.
    """

    code: str
    message: str
    todo: str = ""
    status: int | None = None
    errors: tuple[str, ...] = ()
    attempts: int = 0
    artifact: Artifact | None = None
    waited: Waited | None = None

    __module__ = "pytest_kosli"

    def __str__(self) -> str:
        lines = [self.message, *(f"  {error}" for error in self.errors)]
        if self.todo:
            lines.append(self.todo)
        lines.append(self.docs)
        return "\n".join(lines)

    @property
    def docs(self) -> str:
        """Return the address of the docs heading about this error."""
        return f"{DOCS}#{self.code.replace('_', '-')}"

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, for a shared folder or a report."""
        return {
            "code": self.code,
            "message": self.message,
            "todo": self.todo,
            "status": self.status,
            "errors": list(self.errors),
            "attempts": self.attempts,
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> NoVerdict:
        """Return the exception that ``plain`` described."""
        return cls(**{**data, "errors": tuple(data["errors"])})


def sealed(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was made, or the NoVerdict about it, as plain data: neither is made again."""
    try:
        return make()
    except NoVerdict as error:
        return {"no_verdict": error.plain()}


def unsealed(plain: dict[str, Any]) -> dict[str, Any]:
    """Return what ``sealed`` kept, or raise its NoVerdict."""
    if "no_verdict" in plain:
        raise NoVerdict.from_plain(plain["no_verdict"])
    return plain


class NotChecked(KosliError):
    """A dry run: no request was sent and nothing was judged."""

    __module__ = "pytest_kosli"
