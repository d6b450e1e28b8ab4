"""The usual service: FastAPI around the usual pipeline, in one process with a thread pool for the requests.

`compare.py` starts it: `python -m benchmarks.usual_service POSE DETECTOR THREADS PORT`.
"""

import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Body, FastAPI

from benchmarks.usual import UsualPipeline


def create_app(pipeline: UsualPipeline) -> FastAPI:
    """Return the app. It answers `POST /pose`, with an encoded picture as the body, with the people as JSON."""
    app = FastAPI()

    def pose(picture: bytes = Body(media_type="application/octet-stream")) -> dict[str, Any]:
        bboxes, keypoints, scores = pipeline(picture)
        return {"bboxes": bboxes.tolist(), "keypoints": keypoints.tolist(), "keypoint_scores": scores.tolist()}

    app.post("/pose")(pose)
    return app


if __name__ == "__main__":
    _pose, _detector, _threads, _port = sys.argv[1:]
    _app = create_app(UsualPipeline(Path(_pose), Path(_detector), int(_threads)))
    uvicorn.run(_app, host="127.0.0.1", port=int(_port), log_level="warning")
