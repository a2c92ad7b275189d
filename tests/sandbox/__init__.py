"""A loopback stand-in for Kosli's API, for tests, benchmarks and trying things out."""

from __future__ import annotations

from tests.sandbox.faults import Recorded
from tests.sandbox.server import Sandbox
from tests.sandbox.world import DataError, World

__all__ = ["DataError", "Recorded", "Sandbox", "World"]
