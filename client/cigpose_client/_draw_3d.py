"""Drawing of people in space: the picture with its skeletons, and the joints seen from two sides."""

from typing import Any

import numpy as np

from cigpose_client._draw import COLORS, DrawOptions, Pixels, draw_poses, shared_side
from cigpose_client._extras import matplotlib
from cigpose_client._keypoints import KeypointSet
from cigpose_client._poses import FloatArray, Poses

_VIEWS = (("from the camera", -90.0), ("from the right", 0.0))  # title, and azimuth in degrees
_ELEVATION = 10.0  # degrees
_PERSON_M = 1.2  # between people, who stand side by side: their places in space are not known
_REACH_M = 1.1  # from the root, up and down
_PANEL_INCHES, _DPI = 4.8, 100


def draw_poses_3d(image_bgr: Pixels, poses: Poses, options: DrawOptions | None = None) -> Pixels:
    """Return the drawn picture and beside it the people in space, seen from the camera and from the right.

    The answers are relative to each person's root, so the people stand side by side in the order of their boxes, and
    not where they are.

    Args:
        image_bgr: (H, W, 3) uint8, the upright picture.
        poses: its people, with `keypoints_3d`.
        options: for the picture, see `draw_poses`.

    Returns:
        (h, w, 3) uint8 BGR.

    Raises:
        ModuleNotFoundError: matplotlib or OpenCV is not installed (extra `draw`).
        ValueError: the people have no `keypoints_3d`.
    """
    known = poses.keypoint_set_3d
    if poses.keypoints_3d is None or known is None:
        raise ValueError("these poses have no keypoints_3d; ask a network that lifts, such as model='pose_3d'")
    figure_module, agg = matplotlib("drawing in 3-D")
    panels = 1 + len(_VIEWS)
    figure = figure_module.Figure((panels * _PANEL_INCHES, _PANEL_INCHES), dpi=_DPI, layout="constrained")
    canvas = agg.FigureCanvasAgg(figure)
    picture = figure.add_subplot(1, panels, 1)
    picture.imshow(draw_poses(image_bgr, poses, options=options or DrawOptions())[..., ::-1])
    picture.axis("off")
    order = np.argsort(poses.bboxes[:, 0] + poses.bboxes[:, 2], kind="stable")
    for index, (title, azimuth) in enumerate(_VIEWS):
        axes = figure.add_subplot(1, panels, 2 + index, projection="3d")
        axes.view_init(_ELEVATION, azimuth)
        axes.set_title(title)
        _draw_people(axes, poses.keypoints_3d[order], known)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., 2::-1])


def _draw_people(axes: Any, people: FloatArray, known: KeypointSet) -> None:
    places = (np.arange(len(people)) - (len(people) - 1) / 2) * _PERSON_M
    for place, joints in zip(places, people, strict=True):
        points = np.stack([joints[:, 0] + place, joints[:, 2], -joints[:, 1]])  # right, away, up
        for a, b in known.edges:
            blue, green, red = COLORS["body"][shared_side(known.sides[a], known.sides[b])]
            color = (red / 255, green / 255, blue / 255)
            axes.plot(*points[:, [a, b]], color=color, linewidth=2, solid_capstyle="round")
    half = max(len(people), 1) * _PERSON_M / 2
    axes.set(xlim=(-half, half), ylim=(-_REACH_M, _REACH_M), zlim=(-_REACH_M, _REACH_M))
    axes.set_box_aspect((2 * half, 2 * _REACH_M, 2 * _REACH_M))
    axes.set(ylabel="z (m)", zlabel="-y (m)", xticks=(), yticks=(-1, 0, 1), zticks=(-1, 0, 1))
