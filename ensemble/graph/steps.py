"""The models of the repository, one function each. Tensors keep their name from step to step."""

from ensemble.graph.model import DynamicBatching, Instances, Model, Tensor
from ensemble.graph.networks import MAX_PERSONS, Detector, Network
from ensemble.keypoints import keypoint_set
from ensemble.picture import PictureLimits
from ensemble.request_parameters import RequestParameters

DETECTOR = "detector"

IMAGE = Tensor("image", "STRING", (1,))
IMAGE_BGR = Tensor("image_bgr", "UINT8", (-1, -1, 3))
IMAGE_SIZE = Tensor("image_size", "INT32", (2,))
BBOXES = Tensor("bboxes", "FP32", (-1, 4))
BBOX_SCORES = Tensor("bbox_scores", "FP32", (-1,))
PERSONS_DETECTED = Tensor("persons_detected", "INT32", (1,))
# The boxes once more, for the crop step alone: an ensemble that is asked only for a tensor which a step that is
# left out would have consumed deadlocks ("at least one output is not set").
PERSON_BOXES = Tensor("person_boxes", "FP32", (-1, 4))
CENTERS = Tensor("centers", "FP32", (-1, 2))
SCALES = Tensor("scales", "FP32", (-1, 2))
PLACE = Tensor("place", "INT64", (2,))
TICKET = Tensor("ticket", "INT64", (2,))

# Pictures between the first step and the last. With three people each, 16 hold 48 crops: enough for two CPU sessions
# that prefer batches of 8, while as many are decoded and cropped. A GPU executes up to 32 crops at once, and as many
# must be ready meanwhile, with one person in each picture: 64. More would only wait where nobody is refused any more.
MAX_IN_FLIGHT = 16
MAX_IN_FLIGHT_GPU = 2 * MAX_PERSONS
# Pictures that wait for their turn; the next one is refused at once. 64 callers at a time are never refused. What was
# let in during a spike is answered first, so the server is its old self (64 + 16) / rate seconds after it: 5 s where it
# answers 16 pictures a second, 10 s on the slowest machine that we measured (two busy cores, a large network, crowded
# pictures: 8 to 12 a second). Our client's default deadline is 30 s. A queue of the largest pictures holds
# 64 x 32 MB = 2 GB.
MAX_WAITING = 64
# Who has waited for as long as our client's default deadline has gone; a request's own `timeout` shortens it.
MAX_WAIT_S = 30


def admit_picture() -> Model:
    """Encoded picture -> a place in the queue, unless too many have one."""
    return Model(
        name="admit_picture",
        backend="python",
        adapter="admit_picture",
        inputs=(IMAGE,),
        outputs=(PLACE,),
        parameters={"max_in_flight": str(MAX_IN_FLIGHT), "max_waiting": str(MAX_WAITING)},
    )


def await_turn() -> Model:
    """Place in the queue -> the picture's ticket for the steps that follow, when there is room; here callers queue.

    A step of its own because Triton tells a step only of callers who have hung up before its request was made.
    """
    return Model(
        name="await_turn",
        backend="python",
        adapter="await_turn",
        inputs=(PLACE,),
        outputs=(TICKET,),
        parameters={"max_wait_s": str(MAX_WAIT_S)},
    )


def decode_image(detector: Detector) -> Model:
    """Encoded picture -> pixels, their size, and the detector's letterboxed input."""
    width, height = detector.input_size
    limits = PictureLimits()
    return Model(
        name="decode_image",
        backend="python",
        adapter="decode_image",
        inputs=(IMAGE, TICKET),
        outputs=(IMAGE_BGR, IMAGE_SIZE, Tensor("letterboxed", "UINT8", (1, height, width, 3))),
        parameters={
            **_size_parameters(detector.input_size),
            "max_bytes": str(limits.max_bytes),
            "max_pixels": str(limits.max_pixels),
        },
    )


def detector_model(detector: Detector) -> Model:
    """Letterboxed pictures -> candidate boxes and scores; any detector of this form can stand here."""
    width, height = detector.input_size
    return Model(
        name=DETECTOR,
        backend="onnxruntime",
        max_batch_size=detector.max_batch_size,
        inputs=(Tensor("letterboxed", "UINT8", (height, width, 3)),),
        outputs=(
            Tensor("boxes", "FP32", (detector.candidates, 4)),
            Tensor("scores", "FP32", (detector.candidates,)),
        ),
        parameters=detector.source,
        instances=Instances("KIND_AUTO"),
        batching=DynamicBatching(),
    )


def select_persons(name: str, network: Network, detector: Detector) -> Model:
    """Candidate boxes -> the persons, in picture pixels."""
    defaults = RequestParameters(max_persons=min(MAX_PERSONS, network.max_batch_size))
    return Model(
        name=name,
        backend="python",
        adapter="select_persons",
        inputs=(
            Tensor("boxes", "FP32", (detector.candidates, 4)),
            Tensor("scores", "FP32", (detector.candidates,)),
            IMAGE_SIZE,
            TICKET,
        ),
        outputs=(BBOXES, BBOX_SCORES, PERSONS_DETECTED, PERSON_BOXES),
        parameters={
            **_size_parameters(detector.input_size),
            "bbox_threshold": str(defaults.bbox_threshold),
            "nms_threshold": str(defaults.nms_threshold),
            "max_persons": str(defaults.max_persons),
        },
    )


def accept_boxes() -> Model:
    """Given boxes -> what `select_persons` would have said of them.

    `image_size` is here for the order alone: when one of two steps that run side by side fails, Triton 2.51 keeps the
    other's request for ever, and its memory, and waits for it when it is told to end.
    """
    return Model(
        name="accept_boxes",
        backend="python",
        adapter="accept_boxes",
        inputs=(BBOXES, IMAGE_SIZE, TICKET),
        outputs=(BBOX_SCORES, PERSONS_DETECTED, PERSON_BOXES),
    )


def crop_persons(name: str, network: Network) -> Model:
    """Picture and boxes -> crops of one network's input size (one black crop when there is nobody)."""
    width, height = network.input_size
    return Model(
        name=name,
        backend="python",
        adapter="crop_persons",
        inputs=(IMAGE_BGR, PERSON_BOXES, TICKET),
        outputs=(Tensor("crops", "UINT8", (-1, height, width, 3)), CENTERS, SCALES),
        parameters={**_size_parameters(network.input_size), "max_crops": str(network.max_batch_size)},
    )


def network_model(network: Network) -> Model:
    """Crops -> SimCC rows."""
    width, height = network.input_size
    count = len(keypoint_set(network.keypoint_set))
    return Model(
        name=network.name,
        backend="onnxruntime",
        max_batch_size=network.max_batch_size,
        inputs=(Tensor("crops", "UINT8", (height, width, 3)),),
        outputs=(
            Tensor("simcc_x", "FP32", (count, network.bins[0])),
            Tensor("simcc_y", "FP32", (count, network.bins[1])),
        ),
        parameters=network.source,
        instances=Instances("KIND_AUTO"),
        batching=DynamicBatching(),
    )


def decode_simcc() -> Model:
    """SimCC rows -> keypoints in picture pixels; serves every network."""
    rows = (-1, -1, -1)  # with the leading axis: without it one person passes and two fail
    return Model(
        name="decode_simcc",
        backend="python",
        adapter="decode_simcc",
        inputs=(Tensor("simcc_x", "FP32", rows), Tensor("simcc_y", "FP32", rows), CENTERS, SCALES, TICKET),
        outputs=(Tensor("keypoints", "FP32", (-1, -1, 2)), Tensor("keypoint_scores", "FP32", (-1, -1))),
    )


def _size_parameters(size: tuple[int, int]) -> dict[str, str]:
    return {"input_width": str(size[0]), "input_height": str(size[1])}
