"""Follow the people of a film: `python examples/film.py clip.mp4 [HOST:8001]`."""

import sys

import cv2
from cigpose_client import PoseClient

film, url = sys.argv[1], *(sys.argv[2:] or ["localhost:8001"])
capture = cv2.VideoCapture(film)

with PoseClient(url, array_format="jpeg") as client:
    stream = client.stream(detect_every=10)  # between, people are looked for where they were
    while (frame := capture.read())[0]:
        time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        people = stream.update(frame[1], time_s)
        print(f"{time_s:.2f} s:", *(f"id {person.track_id} at {person.bbox.round().tolist()}" for person in people))
