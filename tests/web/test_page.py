"""What a person does on the page, in a real browser over a rendered film."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.web.looking import opened, until

pytestmark = pytest.mark.service


def test_what_was_erased_is_told_and_passed_over(page: Any, address: str, world: Any, stand_in: ModuleType) -> None:
    world.erased = stand_in.Span(6_000_000, 14_000_000)
    opened(page, address)
    until(page, "!document.querySelector('.showing-still')")
    page.evaluate("""() => {
      const video = document.querySelector("video");
      video.currentTime = 8;
      window.seen = [];
      video.addEventListener("timeupdate", () => window.seen.push(document.querySelector(".clock").textContent));
    }""")
    page.get_by_text("No video here: erased.").wait_for()
    page.evaluate("document.querySelector('video').play()")
    until(page, "document.querySelector('.clock').textContent >= '00:14'")
    passed = set(page.evaluate("window.seen.map((clock) => clock.slice(0, 5))"))
    assert not passed & {"00:10", "00:11", "00:12"}, "nobody waits for what is not there"
    assert page.get_by_text("No video here: erased.").count() == 0


def test_an_answer_streams_in_and_can_be_stopped(page: Any, address: str, world: Any) -> None:
    world.words = 3
    opened(page, address)
    page.get_by_label("Question").fill("What passed?")
    page.get_by_label("Question").press("Enter")
    until(page, "document.querySelector('.answer-text')?.textContent.startsWith('A red')")
    assert page.locator(".answer").get_attribute("aria-busy") == "true"
    assert "[1]" not in page.locator(".answer-text").inner_text(), "only the beginning is there yet"
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert page.locator(".answer").get_attribute("aria-busy") == "false"


def test_gaps_unknown_words_and_what_was_searched_are_said(page: Any, address: str) -> None:
    opened(page, address)
    page.get_by_label("Question").fill("Was there a zebra?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_text("This profile cannot look for: zebra.").wait_for()
    page.get_by_text("Nothing seen during one stretch").click()
    page.get_by_text("offline (unplugged)").wait_for()
    page.get_by_text("Searched street").wait_for()


def test_sound_that_nobody_listened_to_is_a_gap_in_what_was_heard(page: Any, address: str) -> None:
    opened(page, address)
    until(page, "document.querySelectorAll('.mark.gap').length === 2")
    of_sight, of_sound = page.locator(".mark.gap").all()
    lane = page.locator(".track.heard").bounding_box()
    assert lane["y"] <= of_sound.bounding_box()["y"] < lane["y"] + lane["height"]
    assert of_sight.bounding_box()["y"] < lane["y"]
    of_sound.hover()
    page.locator(".tip").get_by_text("Not all was listened to").wait_for()


def test_a_problem_in_an_answer_shows_its_advice(page: Any, address: str) -> None:
    opened(page, address)
    page.get_by_label("Question").fill("fail")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_text("It broke.").wait_for()
    page.get_by_text("Ask again.").wait_for()


def test_find_marks_the_timeline(page: Any, address: str, world: Any) -> None:
    opened(page, address)
    page.get_by_role("tab", name="Find").click()
    page.get_by_label("What to find").fill("a red car")
    page.get_by_role("button", name="Find", exact=True).click()
    page.wait_for_selector(".mark.found")
    mark, lanes = (page.locator(name).bounding_box() for name in (".mark.found", ".lanes"))
    span = world.event("a red car").spans[0]
    expected = span.start / world.truth.duration
    assert abs((mark["x"] - lanes["x"]) / lanes["width"] - expected) < 0.02
    assert abs(mark["width"] / lanes["width"] - span.duration / world.truth.duration) < 0.02
    assert "90 %" in page.locator("#panel-find .hit").first.inner_text()
    page.locator(".mark.found").click()
    until(page, f"Math.abs(document.querySelector('video').currentTime - {span.start / 1e6}) < 6")
    page.get_by_role("button", name="Tell me next time").click()
    assert page.get_by_label("Tell me when").input_value() == "a red car"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    assert page.locator(".mark.found").count() == 0


def test_what_is_not_found_is_said(page: Any, address: str) -> None:
    opened(page, address)
    page.get_by_role("tab", name="Find").click()
    page.get_by_label("What to find").fill("a purple zebra")
    page.get_by_label("What to find").press("Enter")
    page.get_by_text("“a purple zebra” was not found.").wait_for()
    page.get_by_text("This profile cannot look for: zebra.").wait_for()


def test_a_rule_is_tried_saved_fires_and_is_deleted(page: Any, address: str, world: Any) -> None:
    opened(page, address)
    page.get_by_role("tab", name="Alerts").click()
    page.get_by_text("Nothing has fired yet.").wait_for()
    page.get_by_role("button", name="New rule").click()
    page.get_by_label("Tell me when").fill("a red car enters")
    page.get_by_role("button", name="Try on past footage").click()
    page.get_by_text("It would have fired once:").wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "a-red-car-enters"
    page.get_by_role("button", name="Save rule").click()
    page.locator(".rule-name", has_text="a-red-car-enters").wait_for()
    rule = world.rules["r1"]
    assert (rule.text, rule.schedule.end, rule.enabled) == ("a red car enters", "24:00", True)
    page.get_by_role("tab", name="Ask").click()
    page.wait_for_selector(".connection.on", state="attached")
    world.fire(rule)
    page.locator("#alert-count", has_text="1").wait_for()
    page.get_by_role("tab", name="Alerts").click()
    page.get_by_text("a red car was seen (88 % sure).").wait_for()
    page.wait_for_selector(".mark.alert")
    page.get_by_role("switch").uncheck()
    until(page, "!document.querySelector('.switch').checked")
    page.get_by_role("button", name="Delete rule a-red-car-enters").click()
    page.get_by_role("button", name="Delete rule", exact=True).click()
    page.get_by_text("A rule is a sentence").wait_for()
    assert world.rules == {}


def test_an_upload_goes_on_after_a_failure(
    page: Any, address: str, world: Any, tmp_path: Path, accepted: list[str]
) -> None:
    accepted.append("503")
    video = tmp_path / "my holiday.mp4"
    content = os.urandom(9_000_000)
    video.write_bytes(content)
    opened(page, address)
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("Video file").set_input_files(str(video))
    assert page.get_by_label("Name", exact=True).input_value() == "my-holiday"
    page.get_by_role("button", name="Add stream").click()
    page.get_by_text("my-holiday was added.").wait_for()
    assert world.uploads["u1"]["bytes"] == content
    assert world.uploads["u1"]["failures"] == 0, "the service failed once on the way"


def test_subtitles_that_are_chosen_with_a_video_go_with_it(
    page: Any, address: str, world: Any, tmp_path: Path, accepted: list[str]
) -> None:
    accepted.append("400")
    names = ("my holiday.mp4", "my holiday.de.srt", "said.fr.vtt")
    video, german, other = (tmp_path / name for name in names)
    video.write_bytes(b"film")
    german.write_text("no times")
    other.write_text("00:01.000 --> 00:02.000\nOui")
    opened(page, address)
    page.get_by_role("button", name="Add", exact=True).click()
    chooser = page.get_by_label("Video file")
    chooser.set_input_files(str(german))
    page.get_by_label("Name", exact=True).fill("holiday")
    page.get_by_role("button", name="Add stream").click()
    assert "subtitles alone" in chooser.evaluate("input => input.validationMessage")
    assert world.uploads == {}
    chooser.set_input_files([str(path) for path in (german, video, other)])
    page.get_by_text("my holiday.mp4 · 0.0 MB · my holiday.de.srt · said.fr.vtt").wait_for()
    page.get_by_role("button", name="Add stream").click()
    page.get_by_text("There is no line with times in it.").wait_for()
    assert world.uploads["u1"]["bytes"] == b"", "it is said before the film is sent"
    german.write_text("00:00:01,000 --> 00:00:02,000\nJa")
    chooser.set_input_files([str(path) for path in (german, video, other)])
    page.get_by_role("button", name="Add stream").click()
    page.get_by_text("holiday was added.").wait_for()
    assert world.uploads["u1"]["texts"] == {
        "my holiday.de.srt": german.read_bytes(),
        "my holiday.fr.vtt": other.read_bytes(),
    }


def test_a_camera_is_added_with_its_credentials(page: Any, address: str, world: Any) -> None:
    opened(page, address)
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("radio", name="Camera").check()
    page.get_by_label("Camera", exact=True).last.fill("rtsp://192.168.1.20/stream1")
    page.get_by_label("User name").fill("me")
    page.get_by_label("Password").fill("p@ss/word")
    page.get_by_label("Name", exact=True).fill("door")
    page.get_by_role("button", name="Add stream").click()
    page.get_by_text("door was added.").wait_for()
    (_, request) = next(call for call in world.requests if call[0] == "add")
    assert request.source == "rtsp://me:p%40ss%2Fword@192.168.1.20/stream1"


def test_a_refused_source_says_what_to_do(page: Any, address: str, accepted: list[str]) -> None:
    accepted.append("404")
    opened(page, address)
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("radio", name="File").check()
    page.get_by_label("Path").fill("/srv/missing.mp4")
    page.get_by_label("Name", exact=True).fill("nothing")
    page.get_by_role("button", name="Add stream").click()
    page.get_by_text("There is no file").wait_for()
    page.get_by_text("Check the path.").wait_for()
    assert page.get_by_role("dialog", name="Add a stream").is_visible(), "what was typed is not lost"


def test_erasing_asks_first_and_shows_its_receipt(page: Any, address: str, world: Any) -> None:
    opened(page, address)
    page.get_by_role("button", name="More about street").click()
    page.get_by_role("menuitem", name="Remove stream…").click()
    page.get_by_role("button", name="Erase everything").click()
    assert not [call for call in world.requests if call[0] == "erase"], "the name was not typed yet"
    page.get_by_label("Type the stream's name to confirm").fill("street")
    page.get_by_role("button", name="Erase everything").click()
    page.get_by_text("300 features").wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_text("No streams yet").wait_for()
    page.get_by_role("heading", name="Connect a camera. Ask what happened.").wait_for()


def test_what_a_camera_has_of_its_own_is_shown_and_changed(page: Any, address: str, world: Any) -> None:
    """What is in force of the service stands beside it; only what was changed is sent, and null to take it back."""
    world.streams = {"cam": "door-cam"}
    page.goto(address)
    page.get_by_role("button", name="More about door-cam").click()
    page.get_by_role("menuitem", name="Change…").click()
    page.get_by_text("Settings of its own").click()
    kept = page.get_by_label("Keep recordings (hours)")
    assert (kept.input_value(), kept.get_attribute("placeholder")) == ("48", "72")
    assert page.get_by_label("Sound", exact=True).inner_text().startswith("as the service: on")
    kept.fill("")
    page.get_by_label("Sound", exact=True).select_option("off")
    page.get_by_label("Language").fill("de")
    page.get_by_label("Most disk for them (MB)").fill("500")
    page.get_by_role("button", name="Change", exact=True).click()
    page.get_by_text("door-cam was changed.").wait_for()
    assert world.requests[-1] == (
        "change",
        {
            "name": "door-cam",
            "audio": False,
            "language": "de",
            "recordings_budget_mb": 500,
            "keep_recordings_hours": None,
        },
    )


def test_a_camera_is_watched_live_and_its_past_played(page: Any, address: str, world: Any) -> None:
    world.streams = {"cam": "door-cam"}
    page.goto(address)
    page.get_by_text("LIVE", exact=True).wait_for()
    until(page, "document.querySelector('.still').naturalWidth > 0")
    first = page.locator(".still").get_attribute("src")
    until(page, f"document.querySelector('.still').src !== '{first}'")
    shown = page.locator(".clock").inner_text()
    until(page, f"document.querySelector('.clock').textContent !== '{shown}'")
    page.get_by_role("button", name="Play").click()
    until(page, "document.querySelector('video').currentTime > 0.3 && !document.querySelector('.showing-still')")
    assert not page.get_by_text("LIVE", exact=True).is_visible()
    page.get_by_role("button", name="Live", exact=True).click()
    page.get_by_text("LIVE", exact=True).wait_for()


def test_hostile_text_stays_text(page: Any, address: str, world: Any) -> None:
    world.hostile = True
    opened(page, address)
    page.get_by_label("Question").fill("<b>hello</b>")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_selector(".citation")
    assert page.locator(".question").first.inner_text() == "<b>hello</b>"
    assert "<script>" in page.locator(".answer-text").first.inner_text()
    assert page.locator(".citation").count() == 1, "a citation that does not exist is no button"
    page.locator(".mark.thing").first.hover()
    assert "onerror" in page.locator("#tip").inner_text()
    page.get_by_role("tab", name="Alerts").click()
    page.wait_for_selector(".connection.on")
    rule = world.rules.setdefault("r1", _hostile_rule())
    world.fire(rule)
    page.wait_for_selector(".alert")
    assert page.locator("script").count() == 2, "only the page's own scripts"
    assert page.locator("img[src='x']").count() == 0


def _hostile_rule() -> Any:
    from api.schemas import RuleOut

    return RuleOut(id="r1", name="<i>r</i>", text="x", understood=[], unknown=["<u>z</u>"])


def test_tabs_and_dialogs_work_by_keyboard_alone(page: Any, address: str) -> None:
    opened(page, address)
    page.get_by_role("tab", name="Ask").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Find").get_attribute("aria-selected") == "true"
    assert page.evaluate("document.activeElement.id") == "tab-find"
    add = page.get_by_role("button", name="Add", exact=True)
    add.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Add a stream").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Add a stream").wait_for(state="detached")
    assert page.evaluate("document.activeElement.id") == "add-stream"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_legible(page: Any, address: str, scheme: str) -> None:
    """Contrast by WCAG 2.2, 1.4.3: at least 4.5 to 1 for text on the colour behind it."""
    page.emulate_media(color_scheme=scheme)
    opened(page, address)
    page.get_by_label("Question").fill("What passed first?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_selector(".citation")
    poor = page.evaluate(CONTRAST)
    assert poor == []


CONTRAST = """() => {
  const canvas = document.createElement("canvas"); canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (text) => { context.clearRect(0, 0, 1, 1); context.fillStyle = text; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data]; };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => { for (let e = element; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255, 255]; };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const visible = element.checkVisibility({ visibilityProperty: true });
    if (!own || !visible || element.closest(".screen, svg, .tip, :disabled")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def test_the_chosen_theme_stays(page: Any, address: str) -> None:
    page.emulate_media(color_scheme="light")
    opened(page, address)
    page.get_by_role("button", name="Change to dark colours").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 16, 20)"
    assert page.get_by_role("button", name="Change to light colours").is_visible()


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_nothing_sticks_out_sideways(page: Any, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    opened(page, address)
    for tab in ("Ask", "Find", "Summary", "Alerts"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    for opening in ("New rule", "Add"):
        page.get_by_role("button", name=opening, exact=True).click()
        assert page.locator("dialog").evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
        page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [390, 1440])
def test_the_menu_of_a_stream_is_seen_whole(page: Any, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    opened(page, address)
    page.get_by_role("button", name="More about street").click()
    items = page.get_by_role("menuitem").all()
    assert len(items) == 3
    for item in items:
        assert item.evaluate("""item => {
          const { left, top, width, height } = item.getBoundingClientRect();
          return document.elementFromPoint(left + width / 2, top + height / 2) === item;
        }""")


def test_the_menu_of_a_stream_goes_where_the_page_is_scrolled(page: Any, address: str) -> None:
    """It stands where it was opened, and the stream does not."""
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, address)
    page.get_by_role("button", name="More about street").click()
    page.mouse.wheel(0, 200)
    page.locator(".menu").wait_for(state="detached")
