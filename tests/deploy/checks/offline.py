"""Checks of deploy/offline/job.yaml."""

import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.deploy.checks import policies, schemas
from tests.deploy.manifests import DEPLOY

_RULES = (policies.restricted_pods, policies.resources, policies.images)


def problems() -> list[str]:
    """Return the violations of the schemas and of the rules about pods, and a wrong number of shards."""
    (job,) = yaml.safe_load_all((DEPLOY / "offline" / "job.yaml").read_text(encoding="utf-8"))
    found = schemas.problems([job])
    found += policies.problems([{**job, "kind": "Deployment"}], _RULES)  # the rules read the pods of Deployments
    command = job["spec"]["template"]["spec"]["containers"][0]["args"][0]
    if f"/{job['spec']['completions']} " not in command:
        found.append("the command divides the pictures into another number of shards than completions")
    return found
