"""An RTSP server for tests, run by the system's Python: GStreamer's, which is nothing of ours.

    /usr/bin/python3 rtsp_server.py PORT [--login USER:PASSWORD] [--size 1920x1080] [--rate 25] [--moods 4,8,8]
        [--keys 25] [--tls CERT.pem] [--film FILE.mp4]

Serves /cam (H.264 with AAC), /mulaw (H.264 with 8 kHz mu-law sound), /silent (H.264 alone) and /vp8, each a moving
test picture at 25 fps, or at `--rate`, with a key frame every second, or every `--keys` pictures. With moods there
are /moody, too, alive for the first number of seconds, then frozen, then black, then alive again, and /sound, which
has no more pictures after the first number of seconds while its sound goes on. With a film there is /film, its H.264
as it is, which costs next to nothing to serve. Prints "ready" when it listens. On SIGUSR1 it ends every session in
good order, as a camera does that is set up anew: goodbye to each receiver, then the end of the connection.
"""

import argparse
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

VIDEO = (
    "videotestsrc is-live=true pattern={pattern} ! video/x-raw,width={width},height={height},framerate={rate}/1 "
    "! x264enc speed-preset=ultrafast tune=zerolatency key-int-max={keys} bitrate=1500 ! rtph264pay name=pay0 pt=96"
)
AAC = (
    "audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=16000,channels=1 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97"
)
MOODY = (
    "videotestsrc name=alive is-live=true pattern=ball ! {raw} ! sel.sink_0 "
    "videotestsrc name=frozen is-live=true pattern=smpte75 ! {raw} ! sel.sink_1 "
    "videotestsrc name=black is-live=true pattern=black ! {raw} ! sel.sink_2 "
    "input-selector name=sel "
    "! x264enc speed-preset=ultrafast tune=zerolatency key-int-max=25 bitrate=1500 ! rtph264pay name=pay0 pt=96"
)
VP8 = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate={rate}/1 "
    "! vp8enc deadline=1 keyframe-max-dist={rate} ! rtpvp8pay name=pay0 pt=96"
)
MULAW = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("port", type=int)
    arguments.add_argument("--login", default="")
    arguments.add_argument("--size", default="320x180")
    arguments.add_argument("--rate", type=int, default=25)
    arguments.add_argument("--keys", type=int)
    arguments.add_argument("--moods", default="")
    arguments.add_argument("--tls", default="")
    arguments.add_argument("--film", default="")
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
    keys = options.keys or options.rate
    video = VIDEO.format(pattern="ball", width=width, height=height, rate=options.rate, keys=keys)
    paths = {"/cam": f"{video} {sound}", "/mulaw": f"{video} {MULAW}", "/silent": video}
    paths["/vp8"] = VP8.format(width=width, height=height, rate=options.rate)
    if options.moods:
        paths["/moody"] = MOODY.format(raw=f"video/x-raw,width={width},height={height},framerate=25/1")
        paths["/sound"] = f"{video.replace('! x264enc', '! valve name=valve ! x264enc')} {sound}"
    if options.film:
        paths["/film"] = (
            f"filesrc location={options.film} ! qtdemux ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96"
        )
    for path, launch in paths.items():
        factory = GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if path == "/sound":
            factory.connect("media-configure", ending(float(options.moods.split(",")[0])))
        if path == "/moody":
            factory.connect("media-configure", changing([float(part) for part in options.moods.split(",")]))
        if options.login or options.tls:
            protect(factory)
        server.get_mount_points().add_factory(path, factory)
    if options.login:
        server.set_auth(login(*options.login.split(" ", 1) if " " in options.login else options.login.split(":")))
    if options.tls:
        auth = GstRtspServer.RTSPAuth.new()
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options.tls))
        auth.set_default_token(viewer())
        server.set_auth(auth)
    server.attach(None)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, tear_down, server)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def tear_down(server):
    """What streams ends, and so says goodbye over RTCP; a moment later the connections are closed."""

    def end(_server, client, _data):
        for session in client.session_filter(None):
            for media in session.filter(None):
                media.get_media().get_element().send_event(Gst.Event.new_eos())
        return GstRtspServer.RTSPFilterResult.KEEP

    def close(_server, _client, _data):
        return GstRtspServer.RTSPFilterResult.REMOVE

    server.client_filter(end, None)
    GLib.timeout_add(300, lambda: server.client_filter(close, None) and False)
    return True


def changing(moods):
    """Switch the picture of a media after so many seconds each."""

    def configure(_factory, media):
        selector = media.get_element().get_by_name("sel")
        at = 0.0
        for seconds, pad in zip(moods, ("sink_1", "sink_2", "sink_0"), strict=True):
            at += seconds
            GLib.timeout_add(round(at * 1000), show, selector, pad)

    return configure


def ending(seconds):
    """No picture passes after so many seconds."""

    def configure(_factory, media):
        valve = media.get_element().get_by_name("valve")
        GLib.timeout_add(round(seconds * 1000), lambda: valve.set_property("drop", True))

    return configure


def show(selector, pad):
    selector.set_property("active-pad", selector.get_static_pad(pad))
    return False


def protect(factory):
    permissions = GstRtspServer.RTSPPermissions.new()
    structure = Gst.Structure.new_empty("user")
    structure.set_value("media.factory.access", True)
    structure.set_value("media.factory.construct", True)
    permissions.add_role_from_structure(structure)
    factory.set_permissions(permissions)


def login(user, password):
    auth = GstRtspServer.RTSPAuth.new()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), viewer())
    return auth


def viewer():
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "user")
    return token


if __name__ == "__main__":
    sys.exit(main())
