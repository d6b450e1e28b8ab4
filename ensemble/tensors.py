"""Every tensor that travels between the steps: name, data type, dims and meaning. No other file spells them out.

N people, K keypoints, H and W pixels, A candidate boxes. Dims are those of one item: a network's own batch axis is
left out, and `many` adds it for the step at the other end.
"""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Tensor:
    """One named tensor.

    Attributes:
        name: the same in steps, networks and pipelines; tensors are wired by it.
        dtype: Triton's name of the data type, such as `FP32`.
        dims: -1 where variable.
        meaning: for readers.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    meaning: str = field(default="", compare=False, repr=False)

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
        """Return whether this tensor may be handed to `other`: one name and type, dims equal where both are fixed.

        A leading axis at one end alone is the batch axis of the network at the other end.
        """
        short, long = sorted((self.dims, other.dims), key=len)
        if (self.name, self.dtype) != (other.name, other.dtype) or len(long) - len(short) > 1:
            return False
        return all(a == b or -1 in (a, b) for a, b in zip(short[::-1], long[::-1], strict=False))


# What callers send and get: the contract.
IMAGE = Tensor("image", "STRING", (1,), "one encoded picture: JPEG, PNG, WebP or BMP")
BBOXES = Tensor("bboxes", "FP32", (-1, 4), "left, top, right, bottom in pixels of the upright picture")
BBOX_SCORES = Tensor("bbox_scores", "FP32", (-1,), "how certain each box is; 1 for given boxes")
PERSONS_DETECTED = Tensor("persons_detected", "INT32", (1,), "people found before `max_persons` cut the list")
KEYPOINTS = Tensor("keypoints", "FP32", (-1, -1, 2), "[N,K,2]: x, y in pixels of the upright picture")
KEYPOINT_SCORES = Tensor("keypoint_scores", "FP32", (-1, -1), "[N,K]: height of the network's maximum")

# What travels inside.
IMAGE_BGR = Tensor("image_bgr", "UINT8", (-1, -1, 3), "the upright picture")
IMAGE_SIZE = Tensor("image_size", "INT32", (2,), "width, height of the upright picture")
LETTERBOXED = Tensor("letterboxed", "UINT8", (-1, -1, 3), "the detector's input, BGR")
BOXES = Tensor("boxes", "FP32", (-1, 4), "the detector's candidates: xyxy in pixels of `letterboxed`")
SCORES = Tensor("scores", "FP32", (-1,), "[A]: score of each candidate, that it is a person")
PERSON_BOXES = Tensor("person_boxes", "FP32", (-1, 4), "the boxes to crop: found, or given and checked")
CROPS = Tensor("crops", "UINT8", (-1, -1, 3), "one person cut out, BGR; a black one when there is nobody")
CENTERS = Tensor("centers", "FP32", (-1, 2), "middle of each crop in picture pixels; 0 rows when there is nobody")
SCALES = Tensor("scales", "FP32", (-1, 2), "width, height of each crop in picture pixels")
SIMCC_X = Tensor("simcc_x", "FP32", (-1, -1), "[K,bins]: logits along x")
SIMCC_Y = Tensor("simcc_y", "FP32", (-1, -1), "[K,bins]: logits along y")
HEATMAPS = Tensor("heatmaps", "FP32", (-1, -1, -1), "[K,h,w]: one map a keypoint")
GRID_KEYPOINTS = Tensor("grid_keypoints", "FP32", (-1, 2), "[K,2]: x, y in cells of a grid that spans the crop")
GRID_SCORES = Tensor("grid_scores", "FP32", (-1,), "[K]: what `keypoint_scores` will say of `grid_keypoints`")
