"""Ask what conftest files and plugins implement of our hooks, one by one: an error has a name."""

from __future__ import annotations

import re
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from pytest_kosli.discovery import ARTIFACTS, Given
from pytest_kosli.fingerprint import Fingerprint
from pytest_kosli.memo import Plain
from pytest_kosli.model import Artifact, Interaction, NoVerdict, Origin, Reply, Request, Verdict
from pytest_kosli.text import clean

if TYPE_CHECKING:
    from pytest_kosli.api.kosli import KosliClient

FINGERPRINT = "pytest_kosli_fingerprint"
VERDICT = "pytest_kosli_verdict"
RECORD = "pytest_kosli_before_record"
TODO = {
    ARTIFACTS: "Let it return a list of references and Artifacts, an empty one where there is "
    "nothing.",
    FINGERPRINT: "Let it return 64 lower-case hexadecimal digits, or None for what is not its own.",
    RECORD: "Let it return the interaction it was given, or one with another body that says the "
    "same. Nothing is written as it is now.",
}


class _UnfitError(Exception):
    """What a plugin returned that it must not."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """What one plugin implements of a hook; a conftest file goes by its path from the root."""

    hook: str
    plugin: str
    _function: Callable[..., object]
    _arguments: tuple[str, ...]
    _wraps: bool

    def __str__(self) -> str:
        return f"{self.hook} of {clean(self.plugin)}"

    def __call__(self, **given: object) -> Any:
        """Return what the plugin returns for the arguments that it takes."""
        if self._wraps:
            raise TypeError("it is a hook wrapper, but each plugin is asked by itself")
        return self._function(*(given[name] for name in self._arguments))

    @contextmanager
    def blamed(self, about: str) -> Iterator[None]:
        """Make whatever is raised a NoVerdict that names the plugin, but for what ends the run.

        A NoVerdict keeps its own code and advice.
        """
        try:
            yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise
        except NoVerdict as error:
            raise replace(error, message=f"the hook {self}: {error.message}") from error
        except _UnfitError as error:
            raise self._bad(about, f"returned {error}") from error
        except BaseException as error:  # pytest.skip and sys.exit too: nothing may hide a check.
            raise self._bad(about, f"raised {self._told(error)}") from error

    def _bad(self, about: str, what: str) -> NoVerdict:
        return NoVerdict(
            "bad_hook", f"the hook {self}, {clean(about)}, {clean(what)}", TODO.get(self.hook, "")
        )

    def _told(self, error: BaseException) -> str:
        """Return an exception in one line, and the last line of the plugin's file on its way."""
        text = " ".join("".join(traceback.format_exception_only(error)).split())
        file = getattr(getattr(self._function, "__code__", None), "co_filename", None)
        frames = traceback.walk_tb(error.__traceback__)
        lines = [line for frame, line in frames if frame.f_code.co_filename == file]
        return f"{text} (line {lines[-1]})" if lines else text


def implementations(config: pytest.Config, hook: str) -> list[Implementation]:
    """Return what is implemented of a hook so far, in the order in which pluggy would ask."""
    return [
        Implementation(
            hook,
            _name(config, found.plugin_name),
            found.function,
            found.argnames,
            found.wrapper or found.hookwrapper,
        )
        for found in reversed(getattr(config.hook, hook).get_hookimpls())
    ]


def _name(config: pytest.Config, plugin: str) -> str:
    path = Path(plugin)
    inside = path.is_relative_to(config.rootpath)
    return path.relative_to(config.rootpath).as_posix() if inside else plugin


# pytest_kosli_fingerprint


def fingerprint(config: pytest.Config, reference: str) -> Fingerprint | None:
    """Return the first fingerprint that a plugin gives for a reference that is not of our kinds."""
    for one in implementations(config, FINGERPRINT):
        with one.blamed(f"asked about {reference}"):
            given = one(config=config, reference=reference)
            if given is not None and not _is_fingerprint(given):
                raise _UnfitError(repr(given))
        if given is not None:
            return Fingerprint(given, "", f"given by the hook {one}")
    return None


def _is_fingerprint(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


# pytest_kosli_artifacts


def contributions(
    asked: Sequence[Implementation], config: pytest.Config, client: KosliClient
) -> Plain:
    """Return what each plugin contributes, or the NoVerdict about it, as plain data."""
    return {"given": [_contribution(one, config, client) for one in asked]}


def _contribution(one: Implementation, config: pytest.Config, client: KosliClient) -> Plain:
    try:
        with one.blamed("asked for artifacts"):
            answer = one(config=config, client=client)
            if isinstance(answer, str) or not isinstance(answer, Iterable):
                raise _UnfitError(repr(answer))
            return {"by": one.plugin, "named": [_plain(named) for named in answer]}
    except NoVerdict as error:
        return {"by": one.plugin, "no_verdict": error.plain()}


def _plain(named: object) -> Plain | str:
    if isinstance(named, str):
        return named
    if not isinstance(named, Artifact):
        raise _UnfitError(f"{named!r} among others, which is no reference and no Artifact")
    if not _is_fingerprint(named.fingerprint):
        raise _UnfitError(f"an Artifact whose fingerprint is {named.fingerprint!r}")
    for what, text in {"name": named.name, "environment": named.environment}.items():
        unknown = what == "environment" and text is None
        if not unknown and not (isinstance(text, str) and text.strip()):
            raise _UnfitError(f"an Artifact whose {what} is {text!r}")
    return {
        "fingerprint": named.fingerprint,
        "name": named.name,
        "environment": named.environment,
    }


def given_in(plain: Plain) -> Iterator[Given]:
    """Yield what ``contributions`` described, by plugin."""
    for one in plain["given"]:
        if "no_verdict" in one:
            yield Given(one["by"], problem=NoVerdict.from_plain(one["no_verdict"]))
        else:
            origin = Origin("hook", one["by"])
            named = (
                name if isinstance(name, str) else Artifact(**name, origin=origin)
                for name in one["named"]
            )
            yield Given(one["by"], tuple(named))


# pytest_kosli_verdict


class Herald:
    """Tell plugins each verdict that this process was the one to ask for."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._untold: deque[Verdict] = deque()
        self._failed: dict[str, list[str]] = {}

    def hear(self, verdict: Verdict) -> None:
        """Keep a verdict until there is a moment to tell it; in whatever thread it was judged."""
        self._untold.append(verdict)

    def tell(self) -> None:
        """Tell what was heard, in that order; in the thread that calls the hooks of pytest."""
        asked = implementations(self._config, VERDICT)
        while self._untold:
            verdict = self._untold.popleft()
            for one in asked:
                try:
                    with one.blamed(f"told about {verdict.artifact.label}"):
                        # A copy: whatever is done to it, the tests go by the verdict itself.
                        one(config=self._config, verdict=structs.replace(verdict))
                except NoVerdict as error:
                    self._failed.setdefault(one.plugin, []).append(error.message)

    @property
    def problems(self) -> list[str]:
        """Return a line for each plugin that failed, with its first exception."""
        return [
            told[0] + (f" (and {len(told) - 1} more)" if len(told) > 1 else "")
            for told in self._failed.values()
        ]


# pytest_kosli_before_record


class Scrubber:
    """Let plugins scrub what a cassette is about to hold; one reply at a time."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._alone = threading.Lock()

    def __call__(self, request: Request, reply: Reply) -> Reply:
        """Return the reply to write down, which a replay judges as this one.

        Raises NoVerdict that names the plugin which raised, or changed more than texts that are
        only shown.
        """
        interaction = Interaction(request, reply.status, reply.content_type, reply.body)
        if asked := implementations(self._config, RECORD):
            with self._alone:
                for one in asked:
                    interaction = self._scrubbed(one, interaction, reply)
        return structs.replace(reply, body=interaction.body)

    def _scrubbed(self, one: Implementation, given: Interaction, reply: Reply) -> Interaction:
        from pytest_kosli.api.replay import substance

        with one.blamed(f"given {given.request.cassette}"):
            scrubbed = one(config=self._config, interaction=given)
            if not isinstance(scrubbed, Interaction) or not isinstance(scrubbed.body, bytes):
                raise _UnfitError(repr(scrubbed))
            if replace(scrubbed, body=given.body) != given:
                raise _UnfitError("it with more than its body changed")
            if scrubbed.body != given.body:
                written = structs.replace(reply, body=scrubbed.body)
                if substance(given.request, written) != substance(given.request, reply):
                    raise _UnfitError("a body that a replay would not judge as the reply itself")
        return scrubbed
