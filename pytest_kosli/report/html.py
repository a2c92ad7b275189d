"""The evidence as one page that loads nothing and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib

import jinja2
from markupsafe import Markup

from pytest_kosli import __version__
from pytest_kosli.report.drift import WORDS as DRIFT_WORDS
from pytest_kosli.report.evidence import Check, Evidence
from pytest_kosli.report.facts import NO_VERDICT, ORDER, WORDS
from pytest_kosli.report.notices import notices, stamp, verdict
from pytest_kosli.report.sources import WORDS as SOURCE_WORDS
from pytest_kosli.text import clean, count, waited, web_link, when

LONGEST = 2000
NOT_LIVE = "not evidence of a live check"
STAMP_FONT = "font: bold 10pt sans-serif"
OPEN = 5
"""Checks that failed stand open on the page as long as there are no more than these."""


def html(evidence: Evidence) -> str:
    """Return the page; what is not ours in it is text, whatever it looks like."""
    templates = _environment()
    told = notices(evidence)
    style, script = (_source(templates, name) for name in ("page.css", "page.js"))
    stamped = stamp(evidence)
    if stamped:  # on every printed page
        style += f'@page {{ @top-center {{ {STAMP_FONT}; content: "{stamped}: {NOT_LIVE}"; }} }}\n'
    return templates.get_template("page.html").render(
        evidence=evidence,
        verdict=verdict(evidence),
        stamp=stamped,
        not_live=NOT_LIVE,
        notices=told,
        outcomes=[name for name in ORDER if getattr(evidence.totals, name.lower())],
        open_failures=sum(map(_failed, evidence.checks)) <= OPEN,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_kosli.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"when": when, "web": web_link, "failed": _failed}
    environment.globals |= {
        "WORDS": WORDS,
        "SOURCE_WORDS": SOURCE_WORDS,
        "DRIFT_WORDS": DRIFT_WORDS,
        "count": count,
        "waited": waited,
        "version": __version__,
    }
    return environment


def _harmless(value: object) -> object:
    """Return what a template shows: Jinja escapes markup, this escapes what can not be seen."""
    return (
        clean(value, LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value
    )


def _failed(check: Check) -> bool:
    return check.refused or check.outcome == NO_VERDICT


def _source(templates: jinja2.Environment, name: str) -> str:
    assert templates.loader  # noqa: S101
    return templates.loader.get_source(templates, name)[0]


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"
