"""Streams: people with lasting ids and smooth keypoints in the frames of a film or a camera.

The state of a stream lives here, in the client, because any replica of the server may answer any frame.
Only `stream` sends requests; the other modules are pure functions of arrays.
"""

from cigpose_client.streams.options import Smoothing, StreamOptions
from cigpose_client.streams.stream import AsyncPoseStream, PoseStream

__all__ = ["AsyncPoseStream", "PoseStream", "Smoothing", "StreamOptions"]
