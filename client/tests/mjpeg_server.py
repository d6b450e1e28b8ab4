"""An HTTP server with a picture that changes 50 times a second, in the form of network cameras (MJPEG).

`python mjpeg_server.py PORT` serves http://127.0.0.1:PORT/test and prints one line when it listens. /locked needs the
user `user` with the password `secret`.
"""

import base64
import contextlib
import itertools
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

LOGIN = f"Basic {base64.b64encode(b'user:secret').decode()}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/locked" and self.headers["Authorization"] != LOGIN:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for number in itertools.count():
                picture = cv2.imencode(".jpg", np.full((48, 64, 3), number % 256, np.uint8))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
                time.sleep(0.02)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print("listening", flush=True)
        server.serve_forever()
