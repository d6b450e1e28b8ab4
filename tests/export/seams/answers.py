"""`python answers.py REPOSITORY`: reads pickled cases from stdin, writes the in-process answers, pickled, to stdout."""

import pickle
import sys
from pathlib import Path

from ensemble.triton.stored import run_here

cases = pickle.load(sys.stdin.buffer)
runs = {name: run_here(Path(sys.argv[1]), name) for name, _, _ in cases}
pickle.dump([runs[name](wanted=wanted, **inputs) for name, inputs, wanted in cases], sys.stdout.buffer)
