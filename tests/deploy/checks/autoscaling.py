"""Rules about the ScaledObject: recorded and tested signals, derived thresholds, no scaling without data."""

import json
import re
from collections.abc import Iterator, Sequence

from benchmarks import threshold
from tests.deploy import tools
from tests.deploy.checks.pods import Object, of_kind

_RUNBOOK = "docs/runbook.md"
_NAME = re.compile(r"cigpose(?::\w+)+")


def autoscaling(objects: Sequence[Object]) -> Iterator[str]:
    """Yield the problems of the ScaledObjects."""
    rules = [rule for item in of_kind(objects, "PrometheusRule") for rule in _rules(item)]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for item in of_kind(objects, "ScaledObject"):
        spec = item["spec"]
        if int(spec.get("minReplicaCount", 0)) < 2:
            yield "ScaledObject: needs a minimum of two pods"
        if "failureThreshold" not in spec.get("fallback", {}):
            yield "ScaledObject: needs a fallback for when Prometheus is unavailable"
        elif not spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]:
            yield "ScaledObject: the fallback replicas must be between minimum and maximum"
        behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
        if int(behavior.get("scaleDown", {}).get("stabilizationWindowSeconds", 0)) < 300:
            yield "ScaledObject: must scale down only after five quiet minutes"
        yield from _triggers(spec["triggers"], recorded)


def _triggers(triggers: Sequence[Object], recorded: set[str]) -> Iterator[str]:
    derived = {
        "queue": str(threshold.threshold_ms(json.loads(threshold.MEASURED.read_text(encoding="utf-8")))),
        "busy": str(threshold.TARGET_LOAD),
    }
    if {trigger.get("name") for trigger in triggers} != derived.keys():
        yield f"ScaledObject: must have the triggers {', '.join(derived)}"
    for trigger in triggers:
        name, metadata = trigger.get("name"), trigger["metadata"]
        if trigger.get("type") != "prometheus" or trigger.get("metricType") != "AverageValue":
            yield f"trigger {name}: must be of type prometheus with AverageValue, the only kind with a fallback in KEDA"
        if metadata.get("ignoreNullValues") != "false":
            yield f'trigger {name}: ignoreNullValues must be "false": no data is an error, not a zero'
        names = _NAME.findall(metadata.get("query", ""))
        if len(names) != 1 or names[0] not in recorded or not names[0].endswith("_times_pods"):
            yield f"trigger {name}: must query one recorded signal that is multiplied by the number of pods"
        if metadata.get("threshold") != derived.get(str(name)):
            yield f"trigger {name}: the threshold derived from {threshold.MEASURED.name} is {derived.get(str(name))}"


def alerts(objects: Sequence[Object]) -> Iterator[str]:
    """Yield the alerts that lack a severity, a summary or a section in the runbook."""
    for item in of_kind(objects, "PrometheusRule"):
        for rule in [rule for rule in _rules(item) if "alert" in rule]:
            name = rule["alert"]
            if rule.get("labels", {}).get("severity") not in ("page", "ticket"):
                yield f"{name}: the severity must be page or ticket"
            if not rule.get("annotations", {}).get("summary"):
                yield f"{name}: needs a summary"
            page, _, anchor = str(rule.get("annotations", {}).get("runbook", "")).partition("#")
            if page != _RUNBOOK or anchor not in _anchors():
                yield f"{name}: needs its own section in the runbook"


def _rules(item: Object) -> list[Object]:
    return [rule for group in item["spec"]["groups"] for rule in group["rules"]]


def _anchors() -> set[str]:
    text = (tools.FOLDER.parents[2] / _RUNBOOK).read_text(encoding="utf-8")
    return {title.strip().lower() for title in re.findall(r"^## (\w+)$", text, re.M)}
