"""The flags of the pod's server, as the manifests have them, for servers on this machine."""

import re
from pathlib import Path

_DEPLOY = Path(__file__).parent


def flags(*patches: str) -> list[str]:
    """Return the flags of base/deployment.yaml and of patches (files below deploy/), without addresses and ports.

    Raises:
        ValueError: they are not where they were.
    """
    base = (_DEPLOY / "base" / "deployment.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^ +- (--\S+)", base, re.M)
    for patch in patches:
        added = re.findall(r"value: (--\S+)", (_DEPLOY / patch).read_text(encoding="utf-8"))
        if not found or not added:
            raise ValueError(f"base/deployment.yaml and {patch} have {len(found)} and {len(added)} flags")
        found += added
    return [flag for flag in found if not re.match(r"--(grpc|metrics)-(address|port)=", flag)]
