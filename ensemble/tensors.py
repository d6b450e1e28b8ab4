"""Every tensor between the steps: name, data type, dims and meaning. They are declared here only.

N people, K keypoints, H and W pixels, A candidate boxes, C candidate people. Dims are those of one item, without a
network's batch axis. `many` adds that axis for a step that feeds the network or reads its outputs.
"""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Tensor:
    """One named tensor.

    Attributes:
        name: the same in steps, networks and pipelines. Tensors of one name are wired.
        dtype: Triton's name of the data type, such as `FP32`.
        dims: sizes of the axes; -1 where variable.
        meaning: documentation only.
        exact: whether the network that computes it stays in float32 where a profile computes others in less.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    meaning: str = field(default="", compare=False, repr=False)
    exact: bool = field(default=False, compare=False, repr=False)

    def sized(self, *dims: int) -> "Tensor":
        """Return the tensor with some of its variable dims fixed.

        Raises:
            ValueError: `dims` contradict the declared ones.
        """
        if len(dims) != len(self.dims) or any(own not in (-1, dim) for own, dim in zip(self.dims, dims, strict=True)):
            raise ValueError(f"tensor {self.name} has the dims {list(self.dims)}, not {list(dims)}")
        return replace(self, dims=dims)

    def many(self, count: int = -1) -> "Tensor":
        """Return the tensor with a leading axis of `count` items."""
        return replace(self, dims=(count, *self.dims))

    def feeds(self, other: "Tensor") -> bool:
        """Return whether this tensor can be the input `other`: same name and type, equal dims where both are fixed.

        One of the two may have one more leading axis: a network's batch axis.
        """
        short, long = sorted((self.dims, other.dims), key=len)
        if (self.name, self.dtype) != (other.name, other.dtype) or len(long) - len(short) > 1:
            return False
        return all(a == b or -1 in (a, b) for a, b in zip(short[::-1], long[::-1], strict=False))


# The contract: inputs and outputs of the pipelines.
IMAGE = Tensor("image", "STRING", (1,), "one encoded picture: JPEG, PNG, WebP or BMP")
BBOXES = Tensor("bboxes", "FP32", (-1, 4), "left, top, right, bottom in pixels of the upright picture")
BBOX_SCORES = Tensor("bbox_scores", "FP32", (-1,), "confidence of each box; 1 for given boxes; bottom-up: person score")
PERSONS_DETECTED = Tensor("persons_detected", "INT32", (1,), "people found before `max_persons` cut the list")
KEYPOINTS = Tensor("keypoints", "FP32", (-1, -1, 2), "[N,K,2]: x, y in pixels of the upright picture")
KEYPOINT_SCORES = Tensor("keypoint_scores", "FP32", (-1, -1), "[N,K]: height of the network's maximum")
KEYPOINTS_3D = Tensor("keypoints_3d", "FP32", (-1, -1, 3), "[N,J,3]: x, y, z in metres from the root, camera axes")

# Internal tensors.
IMAGE_BGR = Tensor("image_bgr", "UINT8", (-1, -1, 3), "the upright picture")
IMAGE_SIZE = Tensor("image_size", "INT32", (2,), "width, height of the upright picture")
LETTERBOXED = Tensor("letterboxed", "UINT8", (-1, -1, 3), "the detector's input, BGR")
BOXES = Tensor("boxes", "FP32", (-1, 4), "the detector's candidates: xyxy in pixels of `letterboxed`")
SCORES = Tensor("scores", "FP32", (-1,), "[A]: person score of each candidate")
PERSON_BOXES = Tensor("person_boxes", "FP32", (-1, 4), "the boxes to crop: detected, or given and checked")
CROPS = Tensor("crops", "UINT8", (-1, -1, 3), "crop of one person, BGR; one black crop without persons")
CENTERS = Tensor("centers", "FP32", (-1, 2), "middle of each crop in picture pixels; 0 rows without persons")
SCALES = Tensor("scales", "FP32", (-1, 2), "width, height of each crop in picture pixels")
SIMCC_X = Tensor("simcc_x", "FP32", (-1, -1), "[K,bins]: logits along x")
SIMCC_Y = Tensor("simcc_y", "FP32", (-1, -1), "[K,bins]: logits along y")
HEATMAPS = Tensor("heatmaps", "FP32", (-1, -1, -1), "[K,h,w]: one map a keypoint")
# From 32 cells on, bfloat16 has steps of a quarter of a cell and float16 of 1/32; and the network took hard decisions,
# such as Graph-PCNN's gate at 0.85.
GRID_KEYPOINTS = Tensor("grid_keypoints", "FP32", (-1, 2), "[K,2]: x, y in cells of a grid over the crop", exact=True)
COARSE_KEYPOINTS = Tensor(
    "coarse_keypoints", "FP32", (-1, 2), "[K,2]: `grid_keypoints` before stage 2; for checks only"
)
GRID_SCORES = Tensor("grid_scores", "FP32", (-1,), "[K]: what `keypoint_scores` will say of `grid_keypoints`")
LIFT_CROPS = Tensor("lift_crops", "UINT8", (-1, -1, 3), "a person for the lifter, BGR; one black crop without persons")
KEYPOINTS_IMAGE = Tensor(
    "keypoints_image", "FP32", (-1, 2), "[J,2]: x, y over the picture's width, from -1 to 1 along x"
)
KEYPOINTS_CROP = Tensor("keypoints_crop", "FP32", (-1, 2), "[J,2]: x, y in `lift_crops`, which spans -1 to 1")
# It samples feature maps at places that it computes: they move by cells in a reduced precision.
LIFTED = Tensor("lifted", "FP32", (-1, 3), "[J,3]: `keypoints_3d` of one person", exact=True)
FITTED = Tensor("fitted", "UINT8", (-1, -1, 3), "the whole picture as a bottom-up network takes it, BGR")
CANDIDATE_KEYPOINTS = Tensor(
    "candidate_keypoints", "FP32", (-1, -1, 2), "[C,K,2]: x, y in pixels of `fitted`", exact=True
)
CANDIDATE_KEYPOINT_SCORES = Tensor("candidate_keypoint_scores", "FP32", (-1, -1), "[C,K]: `keypoint_scores` of them")
CANDIDATE_SCORES = Tensor("candidate_scores", "FP32", (-1,), "[C]: person score of each candidate")
CENTER_SCORES = Tensor("center_scores", "FP32", (-1,), "[C]: height of each candidate's centre, falling")
