"""The Prometheus rules as Prometheus itself reads them, out of the Kubernetes resource that carries them."""

import textwrap
from pathlib import Path

RESOURCE = Path(__file__).parent / "components" / "monitoring" / "rules.yaml"


def rules_text() -> str:
    """Return the rule file: what stands below `spec:`, one level less deep."""
    return textwrap.dedent(RESOURCE.read_text(encoding="utf-8").partition("\nspec:\n")[2])
