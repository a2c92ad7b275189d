"""Learn from a test suite whether deployed artifacts are compliant according to Kosli."""

__version__ = "0.1.0"
