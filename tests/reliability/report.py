"""`python -m tests.reliability.report`: writes the table of docs/reliability.md from the recorded result files.

RELIABILITY_RESULTS=tests/reliability/results python -m pytest tests/reliability   # records
"""

import json
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_START, _END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def table(results):
    """Return the Markdown table of a folder of result files."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    lines = ["| fault | tries | lost | wrong | slowest recovery | |", "|---|---|---|---|---|---|"]
    for row in rows:
        seconds = f"{row['recovery_s']:.1f} s" if "recovery_s" in row else ""
        cells = (row["fault"], row["tries"], row.get("lost", ""), row.get("wrong", ""), seconds, row.get("note", ""))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def render(page, results):
    """Return the page with a table of these results."""
    before, _, rest = page.partition(_START)
    return before + _START + table(results) + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), RESULTS), encoding="utf-8")
