"""Write the schema again after the evidence changed: ``python -m tests.report.schema``."""

from __future__ import annotations

from pathlib import Path

from pytest_kosli.report import evidence

if __name__ == "__main__":
    path = Path(evidence.__file__).with_name("evidence.schema.json")
    path.write_text(evidence.make_schema(), encoding="utf-8")
