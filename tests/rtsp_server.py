"""An RTSP server for tests, run by the system's Python: GStreamer's, which is nothing of ours.

    /usr/bin/python3 rtsp_server.py PORT [--login USER:PASSWORD] [--size 1920x1080]

Serves /cam (H.264 with AAC), /mulaw (H.264 with 8 kHz mu-law sound) and /silent (H.264 alone), each a moving test
picture at 25 fps with a key frame every second. Prints "ready" when it listens.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

VIDEO = (
    "videotestsrc is-live=true pattern={pattern} ! video/x-raw,width={width},height={height},framerate=25/1 "
    "! x264enc speed-preset=ultrafast tune=zerolatency key-int-max=25 bitrate=1500 ! rtph264pay name=pay0 pt=96"
)
AAC = (
    "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=16000,channels=1 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97"
)
MULAW = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("--login", default="")
    arguments.add_argument("--size", default="320x180")
    options = arguments.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    width, height = options.size.split("x")
    sound = (
        AAC
        if Gst.ElementFactory.find("avenc_aac")
        else "audiotestsrc is-live=true ! voaacenc ! rtpmp4gpay name=pay1 pt=97"
    )
    video = VIDEO.format(pattern="ball", width=width, height=height)
    for path, launch in {"/cam": f"{video} {sound}", "/mulaw": f"{video} {MULAW}", "/silent": video}.items():
        factory = GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if options.login:
            protect(factory)
        server.get_mount_points().add_factory(path, factory)
    if options.login:
        server.set_auth(login(*options.login.split(":")))
    server.attach(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def protect(factory):
    permissions = GstRtspServer.RTSPPermissions.new()
    structure = Gst.Structure.new_empty("user")
    structure.set_value("media.factory.access", True)
    structure.set_value("media.factory.construct", True)
    permissions.add_role_from_structure(structure)
    factory.set_permissions(permissions)


def login(user, password):
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


if __name__ == "__main__":
    sys.exit(main())
