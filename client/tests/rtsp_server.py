"""An RTSP server with one moving test picture: GStreamer's, run by the interpreter of the system.

`python rtsp_server.py PORT` serves rtsp://127.0.0.1:PORT/test and prints one line when it listens.
"""

import sys

LAUNCH = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=20/1 "
    "! jpegenc ! rtpjpegpay name=pay0 )"
)


def main(port: str) -> None:
    import gi

    for module in ("Gst", "GstRtspServer"):
        gi.require_version(module, "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    if Gst.ElementFactory.find("rtpjpegpay") is None:
        raise ImportError("GStreamer's good plugins are missing")
    server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory.set_launch(LAUNCH)
    factory.set_shared(True)
    server.get_mount_points().add_factory("/test", factory)
    server.attach(None)
    print("listening", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1])
