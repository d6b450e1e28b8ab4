"""Print where the nose of every person in a picture is: `python examples/picture.py photo.jpg [HOST:8001]`."""

import sys

from cigpose_client import PoseClient

picture, url = sys.argv[1], *(sys.argv[2:] or ["localhost:8001"])

with PoseClient(url) as client:
    for person in client.estimate(picture):  # best first
        x, y, score = person["nose"]
        print(f"person {person.bbox_score:.2f}: nose at {x:.0f}, {y:.0f}, score {score:.2f}")
