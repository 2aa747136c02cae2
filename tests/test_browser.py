"""Pages in headless Chromium: players play, controls work, nothing is loaded from elsewhere, and it fits a phone."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream import Loader
from gtzan_stream.inference import preview_page

pytestmark = pytest.mark.slow
WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("GTZAN_STREAM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium: install it, or name it with GTZAN_STREAM_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--autoplay-policy=no-user-gesture-required", "--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Any]:
    """Return a function that opens a file, and fails in the end if it logged anything or asked for another address."""
    contexts, problems = [], []

    def opened(path: Path, width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if not is_own(request.url, path) else None)
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def is_own(url: str, path: Path) -> bool:
    return url.startswith("data:") or url == path.as_uri()


@pytest.fixture(scope="module")
def preview(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "preview.html"
    with Loader(shards, augment="study", num_workers=0) as loader:
        preview_page.write(path, loader, augment="study", count=2)
    return path


def playing(page: Any) -> list[int]:
    """Return the numbers of the players that play."""
    return page.evaluate("[...document.querySelectorAll('audio')].flatMap((a, i) => a.paused ? [] : [i])")


def played(page: Any, player: int, seconds: float) -> None:
    """Wait until a player has reached this time."""
    for _ in range(100):
        if page.evaluate(f"document.querySelectorAll('audio')[{player}].currentTime") > seconds:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"player {player} did not reach {seconds} s")


def test_a_player_plays_and_only_one_at_a_time(show: Any, preview: Path):
    page = show(preview)
    page.click("figure >> nth=0 >> button.play")
    played(page, 0, 0.2)
    assert playing(page) == [0]
    left = page.evaluate("parseFloat(document.querySelector('.head').style.left)")
    assert 2 < left < 60
    page.click("figure >> nth=1 >> button.play")
    played(page, 1, 0.1)
    assert playing(page) == [1]
    assert page.inner_text("figure >> nth=1 >> button.play") == "❚❚ Pause"
    page.click("figure >> nth=1 >> button.play")
    assert playing(page) == []


def test_every_sound_can_be_decoded(show: Any, preview: Path):
    page = show(preview)
    seconds = page.evaluate("""Promise.all(data.clips.flatMap((clip) => Object.values(clip.crops)).map((crop) =>
        new Promise((done) => { const audio = new Audio(crop.sound);
            audio.onloadedmetadata = () => done(audio.duration); audio.onerror = () => done(-1); })))""")
    assert len(seconds) > 30
    assert all(abs(length - 66048 / 22050) < 0.01 for length in seconds)
    assert page.evaluate("[...document.querySelectorAll('.heat img')].every((i) => i.naturalWidth === 128)")


def test_a_click_in_the_picture_jumps_there(show: Any, preview: Path):
    page = show(preview)
    box = page.locator("figure >> nth=0 >> .panes").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 100)
    assert playing(page) == [0]
    at = page.evaluate("document.querySelectorAll('audio')[0].currentTime")
    assert at == pytest.approx(0.75 * 65536 / 22050, abs=0.4)


def test_the_menu_chooses_what_is_heard(show: Any, preview: Path):
    page = show(preview)
    words, sound = "figure >> nth=1 >> .words", "document.querySelectorAll('audio')[1].src"
    heard = [page.evaluate(sound)]
    page.get_by_role("button", name="TimeStretch").click()
    assert page.inner_text(words) == "TimeStretch(rate=0.9)"
    page.get_by_role("button", name="rate=1.1").click()
    assert page.inner_text(words) == "TimeStretch(rate=1.1)"
    heard.append(page.evaluate(sound))
    page.get_by_role("button", name="Percussive").click()
    assert page.inner_text(words) == "Percussive()"
    heard.append(page.evaluate(sound))
    assert len(set(heard)) == 3
    assert page.get_attribute("#transforms button >> text=Percussive", "aria-pressed") == "true"


def test_keys_do_what_the_page_says(show: Any, preview: Path):
    page, words = show(preview), "figure >> nth=1 >> .words"
    page.keyboard.press("ArrowLeft")  # from the first recipe to the last transform
    assert page.inner_text(words) == "Percussive()"
    page.keyboard.press("ArrowLeft")
    assert page.inner_text(words) == "Gain(gain=1.5)"
    page.keyboard.press("3")
    assert page.inner_text(words) == "Gain(gain=3)"
    page.keyboard.press("Space")
    played(page, 1, 0.3)
    page.keyboard.press("x")
    assert playing(page) == [0]
    assert page.evaluate("document.querySelectorAll('audio')[0].currentTime") > 0.25
    page.keyboard.press("Space")
    assert playing(page) == []
    page.keyboard.press("ArrowDown")
    assert (
        page.evaluate("[...document.querySelectorAll('.clip')].findIndex((c) => c.classList.contains('current'))") == 1
    )
    page.keyboard.press("Space")
    assert playing(page) == [3]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_a_page_fits_its_window_in_light_and_dark(width: int, show: Any, preview: Path):
    colours = set()
    for scheme in ("light", "dark"):
        page = show(preview, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
