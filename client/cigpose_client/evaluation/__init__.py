"""Average precision as COCO, COCO-WholeBody and CrowdPose define it, and Human3.6M's errors of joints in space.

`evaluate` needs pycocotools: `pip install 'cigpose-client[evaluate]'`.
"""

from cigpose_client._coco import FIELDS
from cigpose_client.evaluation.dataset import Dataset, load_dataset
from cigpose_client.evaluation.joints_3d import Sample, evaluate_3d
from cigpose_client.evaluation.metrics import Metrics, evaluate
from cigpose_client.evaluation.published import published
from cigpose_client.evaluation.similarity import keypoint_similarities, without_duplicates

__all__ = [
    "FIELDS",
    "Dataset",
    "Metrics",
    "Sample",
    "evaluate",
    "evaluate_3d",
    "keypoint_similarities",
    "load_dataset",
    "published",
    "without_duplicates",
]
