"""Drawing of people in space: the picture with its skeletons, and the joints seen from two sides."""

from typing import Any

import numpy as np

from cigpose_client._draw import COLORS, DrawOptions, Pixels, draw_poses, shared_side
from cigpose_client._extras import matplotlib
from cigpose_client._keypoints import KeypointSet
from cigpose_client._poses import FloatArray, Poses

_VIEWS = {"from the camera": 0.0, "from the right": 90.0}  # turn about the vertical axis, in degrees
_ELEVATION_DEG = 10.0  # far joints appear a little higher
_PERSON_M = 1.2  # between people, who stand side by side: their places in space are not known
_REACH_M = 1.1  # from the root, up and down
_ONE_ROW = 4  # most people in a view of one panel's width
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
    figure = figure_module.Figure((3 * _PANEL_INCHES, _PANEL_INCHES), dpi=_DPI, layout="constrained")
    canvas = agg.FigureCanvasAgg(figure)
    rows = [[None, *_VIEWS]] if len(poses) <= _ONE_ROW else [[None, view, view] for view in _VIEWS]
    panels = figure.subplot_mosaic(rows, empty_sentinel="")
    panels[None].imshow(draw_poses(image_bgr, poses, options=options or DrawOptions())[..., ::-1])
    panels[None].axis("off")
    order = np.argsort(poses.bboxes[:, 0] + poses.bboxes[:, 2], kind="stable")
    for title, turn_deg in _VIEWS.items():
        panels[title].set_title(title)
        _draw_people(panels[title], _seen(poses.keypoints_3d[order], turn_deg), known)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., 2::-1])


def _seen(joints: FloatArray, turn_deg: float) -> FloatArray:
    """Return (N, J, 3): metres to the right, up and away, for a viewer who walked around each person by `turn_deg`."""
    turn, elevation = np.radians((turn_deg, _ELEVATION_DEG))
    x, y, z = joints[..., 0], joints[..., 1], joints[..., 2]
    right, away = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    up = away * np.sin(elevation) - y * np.cos(elevation)
    return np.asarray(np.stack([right, up, away], axis=-1), np.float32)


def _draw_people(axes: Any, people: FloatArray, known: KeypointSet) -> None:
    """Draw people (N, J, 3), see `_seen`, side by side; near lines cover far ones."""
    places = (np.arange(len(people)) - (len(people) - 1) / 2) * _PERSON_M
    for place, joints in zip(places, people, strict=True):
        for a, b in sorted(known.edges, key=lambda edge: -joints[list(edge), 2].sum()):
            blue, green, red = COLORS["body"][shared_side(known.sides[a], known.sides[b])]
            color = (red / 255, green / 255, blue / 255)
            axes.plot(place + joints[[a, b], 0], joints[[a, b], 1], color=color, linewidth=2, solid_capstyle="round")
    half = max(len(people), 1) * _PERSON_M / 2
    axes.set(xlim=(-half, half), ylim=(-_REACH_M, _REACH_M), aspect="equal", xticks=(), yticks=(-1, 0, 1))
    axes.set_ylabel("m")
    axes.grid(axis="y")
