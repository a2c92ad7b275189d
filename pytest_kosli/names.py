"""Where Kosli is, and which names it allows: what settings have to know of its API."""

from __future__ import annotations

DEFAULT_HOST = "https://app.kosli.com"
PROVIDERS = ("github", "gitlab", "bitbucket", "azure-devops", "circleci")

FIRST, OTHER = "[a-zA-Z0-9]", r"[a-zA-Z0-9.\-_~]"
NAME = f"{FIRST}{OTHER}*"
"""Patterns of a name of Kosli's, and of the characters that it begins with and goes on with."""
