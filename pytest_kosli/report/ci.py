"""Which job of which CI service this run is, from the variables that the service sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from pytest_kosli.text import web_link

Environ = Mapping[str, str]


def job(environ: Environ) -> dict[str, str] | None:
    """Return ``name``, ``url`` and ``commit`` of the job that runs us; None outside of CI.

    An address that is no plain web address is left empty.
    """
    for sign, name, url, commit in SERVICES:
        if environ.get(sign):
            return {"name": name, "url": web_link(url(environ)), "commit": environ.get(commit, "")}
    return None


def _github(environ: Environ) -> str:
    server, repo, run = (
        environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")
    )
    attempt = environ.get("GITHUB_RUN_ATTEMPT", "1")
    return f"{server}/{repo}/actions/runs/{run}/attempts/{attempt}" if repo and run else ""


def _azure(environ: Environ) -> str:
    server, project, build = (
        environ.get(name, "")
        for name in ("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID")
    )
    where = f"{server.rstrip('/')}/{quote(project, safe='')}"
    return f"{where}/_build/results?buildId={build}" if project and build else ""


def _gitlab(environ: Environ) -> str:
    return environ.get("CI_JOB_URL", "")


def _jenkins(environ: Environ) -> str:
    return environ.get("BUILD_URL", "")


SERVICES: tuple[tuple[str, str, Callable[[Environ], str], str], ...] = (
    ("GITHUB_ACTIONS", "GitHub Actions", _github, "GITHUB_SHA"),
    ("GITLAB_CI", "GitLab CI", _gitlab, "CI_COMMIT_SHA"),
    ("JENKINS_URL", "Jenkins", _jenkins, "GIT_COMMIT"),
    ("TF_BUILD", "Azure Pipelines", _azure, "BUILD_SOURCEVERSION"),
)
"""The variable that gives a service away, its name, its link, and where the commit stands."""
