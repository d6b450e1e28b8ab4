"""gRPC client for CIGPose on Triton: the keypoints of every person in a picture."""

from importlib import metadata as _metadata

from cigpose_client._async_client import AsyncPoseClient
from cigpose_client._client import PoseClient
from cigpose_client._connection import Tls
from cigpose_client._draw import DrawOptions, draw_poses, strokes
from cigpose_client._draw_3d import draw_poses_3d
from cigpose_client._errors import (
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    PoseClientError,
    RequestRejected,
    ServerFailed,
    ServerUnavailable,
)
from cigpose_client._image import Image
from cigpose_client._info import ServedModel, ServerInfo
from cigpose_client._keypoints import KeypointSet, keypoint_sets
from cigpose_client._poses import Detection, Detections, Person, Poses
from cigpose_client._protocol import MAX_PICTURE_BYTES, Options
from cigpose_client._retry import Retry
from cigpose_client.streams import AsyncPoseStream, PoseStream, Smoothing

__version__ = _metadata.version("cigpose-client")

__all__ = [
    "MAX_PICTURE_BYTES",
    "AsyncPoseClient",
    "AsyncPoseStream",
    "DeadlineExceeded",
    "Detection",
    "Detections",
    "DrawOptions",
    "Image",
    "KeypointSet",
    "ModelNotReady",
    "Options",
    "Overloaded",
    "Person",
    "PoseClient",
    "PoseClientError",
    "PoseStream",
    "Poses",
    "RequestRejected",
    "Retry",
    "ServedModel",
    "ServerFailed",
    "ServerInfo",
    "ServerUnavailable",
    "Smoothing",
    "Tls",
    "__version__",
    "draw_poses",
    "draw_poses_3d",
    "keypoint_sets",
    "strokes",
]
