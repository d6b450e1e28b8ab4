"""Optional libraries, imported at the moment of use. The error for a missing one names the extra to install."""

import importlib
import importlib.util
from typing import Any


def opencv(purpose: str) -> Any:
    """Return the module `cv2`.

    Raises:
        ModuleNotFoundError: it is not installed; the text names `purpose` and the extra.
    """
    return _module("cv2", purpose, "draw")


def has_opencv() -> bool:
    """Return whether `cv2` is installed."""
    return importlib.util.find_spec("cv2") is not None


def supervision() -> Any:
    """Return the module `supervision`. Raises: see `opencv`."""
    return _module("supervision", "to_supervision()", "supervision")


def matplotlib(purpose: str) -> tuple[Any, Any]:
    """Return matplotlib's modules `figure` and `backends.backend_agg`, which need no screen. Raises: see `opencv`."""
    figure, agg = (_module(f"matplotlib.{part}", purpose, "draw") for part in ("figure", "backends.backend_agg"))
    return figure, agg


def pycocotools() -> tuple[Any, Any]:
    """Return pycocotools' modules `coco` and `cocoeval`. Raises: see `opencv`."""
    coco, cocoeval = (_module(f"pycocotools.{part}", "evaluation", "evaluate") for part in ("coco", "cocoeval"))
    return coco, cocoeval


def linear_sum_assignment() -> Any:
    """Return scipy's function of that name. Raises: see `opencv`."""
    return _module("scipy.optimize", "a stream", "track").linear_sum_assignment


def pyarrow() -> tuple[Any, Any]:
    """Return the modules `pyarrow` and `pyarrow.parquet`. Raises: see `opencv`."""
    arrow, parquet = (_module(name, "Parquet", "parquet") for name in ("pyarrow", "pyarrow.parquet"))
    return arrow, parquet


def _module(name: str, purpose: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        remedy = f"{purpose} needs the module {name}: pip install 'cigpose-client[{extra}]'"
        raise ModuleNotFoundError(remedy, name=name) from error
