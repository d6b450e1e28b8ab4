"""Count the people in every JPEG of a folder: `python examples/folder.py photos/ [HOST:8001]`."""

import sys
from pathlib import Path

from cigpose_client import PoseClient, Poses

folder, url = sys.argv[1], *(sys.argv[2:] or ["localhost:8001"])
paths = sorted(Path(folder).glob("*.jpg"))

with PoseClient(url) as client:
    # eight requests at one time, which the server batches
    for path, outcome in zip(paths, client.attempt_many(paths, in_flight=8), strict=True):
        print(f"{path.name}: {len(outcome)} people" if isinstance(outcome, Poses) else f"{path.name}: {outcome}")
