"""Runs the step that this model's config names. The same file is `model.py` in every Python model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # or a server started inside a checkout would import the checkout's code

from ensemble.triton.python_step import TritonPythonModel

__all__ = ["TritonPythonModel"]
