"""The player and the timeline under it, in a real browser over a rendered film."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import pytest

from tests.web.looking import opened, until

pytestmark = pytest.mark.service


def playhead(page: Any) -> float:
    """Seconds into the film that the player shows."""
    return float(
        page.evaluate("document.querySelector('.clock').textContent.split(':').reduce((a, b) => a * 60 + +b, 0)")
    )


def video_time(page: Any) -> float:
    return float(page.evaluate("document.querySelector('video').currentTime"))


def reddest(page: Any) -> list[int]:
    """Counts of clearly red and of all sampled pixels of the picture in the video element."""
    script = """() => {
      const video = document.querySelector("video");
      const canvas = document.createElement("canvas");
      canvas.width = 160; canvas.height = 90;
      const context = canvas.getContext("2d");
      context.drawImage(video, 0, 0, 160, 90);
      const data = context.getImageData(0, 45, 160, 45).data;
      let red = 0;
      for (let i = 0; i < data.length; i += 4) red += data[i] > 120 && data[i + 1] < 70 && data[i + 2] < 70;
      return [red, data.length / 4];
    }"""
    return [int(value) for value in page.evaluate(script)]


def test_a_citation_moves_the_player_to_the_moment(page: Any, address: str, world: Any) -> None:
    opened(page, address)
    before = reddest(page)[0]
    page.get_by_label("Question").fill("What passed first?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_selector(".citation")
    assert page.locator(".answer-text").first.inner_text().startswith("A red car drives to the right")
    page.locator(".citation").first.click()
    until(page, "document.querySelector('video').currentTime > 1")
    start = world.event("a red car").spans[0].start / 1e6
    until(page, f"document.querySelector('.clock').textContent >= '00:{int(start) + 1:02}'")
    page.evaluate("document.querySelector('video').pause()")
    assert start <= playhead(page) <= start + 6
    assert abs(video_time(page) - playhead(page)) <= 4.2, "the clip begins at most a key frame before what was asked"
    assert reddest(page)[0] > before + 100, "the picture shows the red car"


@pytest.mark.parametrize("width", [390, 1440])
def test_the_playhead_hides_no_label_of_the_axis(page: Any, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    opened(page, address)
    page.locator(".lanes").press("Home")
    until(page, "document.querySelector('.playhead').getAttribute('visibility') === 'visible'")
    first, handle = (page.locator(name).first.bounding_box() for name in (".tick-label", ".playhead path"))
    assert first["x"] < handle["x"] + handle["width"], "the first label is where the playhead is"
    assert first["y"] + first["height"] <= handle["y"]


def test_on_a_narrow_screen_what_an_answer_names_is_played_in_view(page: Any, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, address)
    page.get_by_label("Question").fill("What passed first?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".answer .hit").first.scroll_into_view_if_needed()
    player = page.locator("#player")
    assert player.bounding_box()["y"] < 0
    page.locator(".citation").first.click()
    assert player.bounding_box()["y"] >= 0


def test_a_jump_while_the_clip_still_loads_leads_there(page: Any, address: str, stand_in: ModuleType) -> None:
    """Before it is known how long the video is: what was asked for last is shown as soon as it can be."""
    held, released = list[Any](), False

    def hold(route: Any) -> None:
        held.append(route) if route.request.resource_type == "media" and not released else route.continue_()

    page.route("**/clip?*", hold)
    page.goto(address)
    deadline = time.monotonic() + 45
    while not held:
        assert time.monotonic() < deadline, "the video was not asked for"
        page.wait_for_timeout(20)
    page.evaluate("""(origin) => {
      const { stream } = document.querySelector(".stream.chosen").dataset;
      for (const s of [20, 5]) {
        const detail = { stream, ms: origin + s * 1000, play: true };
        document.dispatchEvent(new CustomEvent("jump", { detail }));
      }
    }""", stand_in.ORIGIN / 1000)  # fmt: skip
    assert page.locator(".showing-still").count() == 1, "there is nothing else to show yet"
    released = True
    for route in held:
        route.continue_()
    until(page, "!document.querySelector('.showing-still') && document.querySelector('video').currentTime > 5.2")
    assert video_time(page) < 20


def test_a_moment_without_recording_shows_the_remembered_picture(
    page: Any, address: str, world: Any, accepted: list[str]
) -> None:
    accepted.append("404")
    world.recorded = False
    page.goto(address)
    page.get_by_text("No recording of this moment").wait_for()
    page.get_by_text("This is the remembered picture.").wait_for()
    until(page, "document.querySelector('.still').naturalWidth > 0")


def test_a_moment_that_nobody_watched_says_why_and_of_when_the_picture_is(
    page: Any, address: str, world: Any, accepted: list[str]
) -> None:
    accepted.append("404")
    world.recorded, world.remembered = False, 15_000_000
    page.goto(address)
    page.wait_for_selector(".mark.covered")
    page.get_by_role("slider", name="Position").press("End")
    page.get_by_text("No video of this moment: offline. unplugged").wait_for()
    assert "The picture is of 00:15." in page.locator(".player-note").inner_text()


def test_the_timeline_goes_where_the_player_goes(page: Any, address: str, world: Any) -> None:
    """Also out of its view, as for a citation of hours ago; and it tells in every lane why nothing is there."""
    opened(page, address)
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    slider = page.get_by_role("slider", name="Position")
    for key in ("Home", "End"):
        slider.press(key)
        until(page, "document.querySelector('.playhead').getAttribute('visibility') === 'visible'")
    lanes = page.locator(".lanes").bounding_box()
    page.mouse.move(lanes["x"] + lanes["width"] * 0.9, lanes["y"] + lanes["height"] - 4)
    page.locator("#tip").get_by_text("No video: offline").wait_for()
    assert page.locator(".tip-picture").is_hidden()


def test_the_timeline_zooms_pans_and_is_driven_by_keys(page: Any, address: str) -> None:
    opened(page, address)
    before = page.locator(".range").inner_text()
    page.get_by_role("button", name="Zoom in").click()
    assert page.locator(".range").inner_text() != before
    zoomed = page.locator(".range").inner_text()
    box = page.locator(".lanes").bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 10, steps=4)
    page.mouse.up()
    assert page.locator(".range").inner_text() != zoomed
    page.get_by_role("button", name="Show everything").click()
    assert page.locator(".range").inner_text() == before
    slider = page.get_by_role("slider", name="Position")
    slider.focus()
    page.keyboard.press("Shift+ArrowRight")
    until(page, "document.querySelector('.lanes').getAttribute('aria-valuetext') === '00:10'")
    page.keyboard.press("n")
    until(page, "document.querySelector('.lanes').getAttribute('aria-valuetext') !== '00:10'")
    until(page, "document.querySelectorAll('.mark.gap').length === 2")
    page.locator(".mark.gap").first.hover()
    assert "No video: offline" in page.locator("#tip").inner_text()
    assert page.locator(".tip-picture").is_hidden(), "there is no picture of a time without video"


def test_everything_of_a_camera_is_shown_and_then_the_newest_again(page: Any, address: str, world: Any) -> None:
    world.streams, world.known_to = {"cam": "door-cam"}, 3 * 3_600_000_000
    page.goto(address)
    newest = "document.querySelector('.range').textContent.split('–')[0].includes(' 20:32:')"
    until(page, newest)
    page.get_by_role("button", name="Show everything").click()
    until(page, "/ 17:(38|39|40|41|42):.*–/.test(document.querySelector('.range').textContent)")
    page.get_by_role("button", name="Live", exact=True).click()
    until(page, newest)


def test_a_picture_follows_the_pointer(page: Any, address: str) -> None:
    opened(page, address)
    lanes = page.locator(".lanes")
    box = lanes.bounding_box()
    sources = set()
    for part in (0.2, 0.5):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + box["height"] - 4)
        page.wait_for_timeout(120)
        until(page, "(document.querySelector('#tip .tip-picture') || {}).naturalWidth > 0")
        picture = page.locator("#tip .tip-picture")
        picture.wait_for(state="visible")
        sources.add(picture.get_attribute("src"))
    assert len(sources) == 2
    assert all("/thumbnail?at=" in source for source in sources)


def test_where_a_camera_sees_nothing_all_is_not_well(page: Any, address: str, world: Any) -> None:
    opened(page, address)
    page.get_by_role("button", name="All well").wait_for()
    world.blind = ("street (offline)",)
    page.reload()
    page.get_by_role("button", name="Look at: streams").click()
    page.get_by_text("Blind: street (offline).").wait_for()
