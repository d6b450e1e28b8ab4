"""The ScaledObject: signals that are recorded and tested, thresholds that are derived, and no scaling on silence."""

import json
import re
from collections.abc import Iterator, Sequence

from benchmarks import threshold
from tests.deploy import tools
from tests.deploy.checks.pods import Object, of_kind

_RUNBOOK = "docs/runbook.md"
_NAME = re.compile(r"cigpose(?::\w+)+")


def autoscaling(objects: Sequence[Object]) -> Iterator[str]:
    """Yield what is wrong with the ScaledObjects."""
    rules = [rule for item in of_kind(objects, "PrometheusRule") for rule in _rules(item)]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for item in of_kind(objects, "ScaledObject"):
        spec = item["spec"]
        if int(spec.get("minReplicaCount", 0)) < 2:
            yield "ScaledObject: two pods at least"
        if "failureThreshold" not in spec.get("fallback", {}):
            yield "ScaledObject: fallback, for when Prometheus cannot be asked"
        elif not spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]:
            yield "ScaledObject: fallback replicas between minimum and maximum"
        behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
        if int(behavior.get("scaleDown", {}).get("stabilizationWindowSeconds", 0)) < 300:
            yield "ScaledObject: scale down after five quiet minutes only"
        yield from _triggers(spec["triggers"], recorded)


def _triggers(triggers: Sequence[Object], recorded: set[str]) -> Iterator[str]:
    derived = {
        "queue": str(threshold.threshold_ms(json.loads(threshold.MEASURED.read_text(encoding="utf-8")))),
        "busy": str(threshold.TARGET_LOAD),
    }
    if {trigger.get("name") for trigger in triggers} != derived.keys():
        yield f"ScaledObject: the triggers {', '.join(derived)}"
    for trigger in triggers:
        name, metadata = trigger.get("name"), trigger["metadata"]
        if trigger.get("type") != "prometheus" or trigger.get("metricType") != "AverageValue":
            yield f"trigger {name}: prometheus with AverageValue; KEDA has its fallback for that kind alone"
        if metadata.get("ignoreNullValues") != "false":
            yield f'trigger {name}: ignoreNullValues "false"; no data is an error, not a zero'
        names = _NAME.findall(metadata.get("query", ""))
        if len(names) != 1 or names[0] not in recorded or not names[0].endswith("_times_pods"):
            yield f"trigger {name}: asks for one recorded signal that is multiplied by the pods"
        if metadata.get("threshold") != derived.get(str(name)):
            yield f"trigger {name}: the threshold derived from {threshold.MEASURED.name} is {derived.get(str(name))}"


def alerts(objects: Sequence[Object]) -> Iterator[str]:
    """Yield alerts that would wake somebody without saying what to do."""
    for item in of_kind(objects, "PrometheusRule"):
        for rule in [rule for rule in _rules(item) if "alert" in rule]:
            name = rule["alert"]
            if rule.get("labels", {}).get("severity") not in ("page", "ticket"):
                yield f"{name}: severity page or ticket"
            if not rule.get("annotations", {}).get("summary"):
                yield f"{name}: a summary"
            page, _, anchor = str(rule.get("annotations", {}).get("runbook", "")).partition("#")
            if page != _RUNBOOK or anchor not in _anchors():
                yield f"{name}: a section of its own in the runbook"


def _rules(item: Object) -> list[Object]:
    return [rule for group in item["spec"]["groups"] for rule in group["rules"]]


def _anchors() -> set[str]:
    text = (tools.FOLDER.parents[2] / _RUNBOOK).read_text(encoding="utf-8")
    return {title.strip().lower() for title in re.findall(r"^## (\w+)$", text, re.M)}
