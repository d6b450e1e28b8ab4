"""Libraries that only some uses need, imported at the moment of that use; the error names the extra to install."""

import importlib
from typing import Any


def opencv(purpose: str) -> Any:
    """Return the module `cv2`, or raise ModuleNotFoundError that says what `purpose` needs it and how to get it."""
    return _module("cv2", purpose, "draw")


def supervision() -> Any:
    """Return the module `supervision`, or raise ModuleNotFoundError that says how to get it."""
    return _module("supervision", "to_supervision()", "supervision")


def pycocotools() -> tuple[Any, Any]:
    """Return pycocotools' modules `coco` and `cocoeval`, or raise ModuleNotFoundError that says how to get them."""
    coco, cocoeval = (_module(f"pycocotools.{part}", "evaluation", "evaluate") for part in ("coco", "cocoeval"))
    return coco, cocoeval


def _module(name: str, purpose: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        remedy = f"{purpose} needs the module {name}: pip install 'cigpose-client[{extra}]'"
        raise ModuleNotFoundError(remedy, name=name) from error
