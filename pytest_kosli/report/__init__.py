"""What outlives a run: its record, and the ways to show it."""

GITHUB = "github"
"""The report that goes to a GitHub job: its summary, and annotations."""

SUFFIXES = (".json", ".md", ".html")
"""What the names of report files end in."""
