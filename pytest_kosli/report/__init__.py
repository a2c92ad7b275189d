"""What outlives a run: its record, and the ways to show it."""
