"""An RTSP server with one moving test picture: GStreamer's, run by the interpreter of the system.

`python rtsp_server.py PORT` serves rtsp://127.0.0.1:PORT/test and prints one line when it listens.
"""

import sys

LAUNCH = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=20/1 "
    "! jpegenc ! rtpjpegpay name=pay0 )"
)


def prepared():
    """Return GStreamer's modules; raise if something is missing."""
    import gi

    for module in ("Gst", "GstRtspServer"):
        gi.require_version(module, "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    for element in ("videotestsrc", "jpegenc", "rtpjpegpay"):
        if Gst.ElementFactory.find(element) is None:
            raise ImportError(f"GStreamer's element {element} is missing")
    return GLib, GstRtspServer


def main(port: str) -> None:
    GLib, GstRtspServer = prepared()
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
