"""The accuracy that the authors publish, in per cent. All with flip test, which a network has inside or not.

Source: README of the official code (53mins/CIGPose, commit b7444d8). COCO-WholeBody and CrowdPose with a detector's
boxes; COCO with ground-truth boxes, if the published configurations were used as they are.
"""

from cigpose_client.evaluation.metrics import Metrics

_PARTS = ("body", "foot", "face", "hand", "whole")
_WHOLE_BODY = {
    "cigpose-m_coco-wholebody_256x192": (69.0, 64.3, 82.1, 49.7, 59.9),
    "cigpose-l_coco-wholebody_256x192": (71.2, 69.0, 83.3, 54.0, 62.6),
    "cigpose-l_coco-wholebody_384x288": (73.0, 72.0, 88.3, 59.8, 66.3),
    "cigpose-x_coco-wholebody_384x288": (73.5, 72.3, 88.1, 60.2, 67.0),
    "cigpose-l_coco-ubody_256x192": (71.3, 66.2, 83.4, 55.5, 63.1),
    "cigpose-l_coco-ubody_384x288": (73.1, 72.3, 88.0, 61.2, 66.9),
    "cigpose-x_coco-ubody_384x288": (73.5, 70.3, 88.4, 62.6, 67.5),
}
_BODY = {  # AP, AR
    "cigpose-m_coco_256x192": (76.6, 79.3),
    "cigpose-l_coco_256x192": (77.6, 80.3),
    "cigpose-l_coco_384x288": (78.5, 81.1),
}
_DIFFICULTIES = ("all", "easy", "medium", "hard")
_CROWD = {
    "cigpose-m_crowdpose_256x192": (71.4, 81.0, 72.7, 58.9),
    "cigpose-l_crowdpose_256x192": (73.7, 82.8, 75.1, 61.2),
    "cigpose-l_crowdpose_384x288": (74.2, 82.9, 75.6, 62.5),
    "cigpose-x_crowdpose_384x288": (75.8, 84.2, 77.3, 63.6),
}


def published(network: str) -> Metrics:
    """Return the published metrics of a network, 0 to 1; empty for a network that has none."""
    if network in _BODY:
        ap, ar = _BODY[network]
        return {"body": {"AP": _ratio(ap), "AR": _ratio(ar)}}
    rows = dict(zip(_PARTS, _WHOLE_BODY[network], strict=True)) if network in _WHOLE_BODY else {}
    rows |= dict(zip(_DIFFICULTIES, _CROWD[network], strict=True)) if network in _CROWD else {}
    return {row: {"AP": _ratio(value)} for row, value in rows.items()}


def _ratio(percent: float) -> float:
    return round(percent / 100, 3)
