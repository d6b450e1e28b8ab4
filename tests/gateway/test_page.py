"""The page in a real browser: Debian's Chromium, headless, driven by playwright. The pose server answers by rule."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from cigpose_client import PoseClient

from client.tests.fake_server import FakeServer, start
from gateway.settings import Settings
from tests.gateway.conftest import running, until
from tests.pictures import encode, noise_picture

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
PICTURE = encode(noise_picture(320, 240), ".jpg")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium with a film as its camera; the tests are skipped where no browser is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    film = write_film(tmp_path_factory.mktemp("camera") / "camera.y4m")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=found, args=[*FLAGS, f"--use-file-for-fake-video-capture={film}"]
        )
        yield browser
        browser.close()


def write_film(path, frames=10, width=320, height=240):
    """Write a YUV4MPEG2 film whose brightness rises, and return its path."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(frames):
            luma = np.full(width * height, 60 + 10 * frame, np.uint8).tobytes()
            file.write(b"FRAME\n" + luma + bytes([128]) * (width * height // 2))
    return path


@pytest.fixture(scope="module")
def fake():
    fake = FakeServer(networks="a,body,3d", set_name="", bottom_up=("pose_body",))
    handle = start(fake)
    yield fake
    handle.stop(None).wait()


@pytest.fixture(scope="module")
def url(fake, tmp_path_factory):
    samples = tmp_path_factory.mktemp("samples")
    (samples / "first.jpg").write_bytes(PICTURE)
    with running(Settings(url=fake.url, samples=samples, note="These are test networks.", rate=0)) as client:
        yield str(client.base_url)


@pytest.fixture
def visit(browser, url, request):
    """Return a function: options of a visitor -> the page. It fails on errors and on requests to other hosts."""
    problems = []
    with contextlib.ExitStack() as stack:

        def opened(address=url, **options):
            context = stack.enter_context(closing(browser.new_context(permissions=["camera"], **options)))
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on(
                "request",
                lambda sent: (
                    None if sent.url.startswith((url, address, "blob:", "data:")) else problems.append(sent.url)
                ),
            )
            page.goto(address)
            page.wait_for_selector("#model option", state="attached")
            return page

        yield opened
        assert problems == []


@contextlib.contextmanager
def closing(context):
    yield context
    context.close()


def screenshot(page, name):
    """Keep a picture of the page in the folder SCREENSHOTS, if that is set, for people to look at."""
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png", full_page=True)


def upload(page, content=PICTURE, name="photo.jpg"):
    page.set_input_files("#file", {"name": name, "mimeType": "image/jpeg", "buffer": content})


def answered(page, people=2):
    page.wait_for_selector(f"#status:has-text('{people} p')")


def pixels(page):
    """Return the canvas as (H, W, 3) uint8 BGR."""
    data = page.evaluate("document.querySelector('#canvas').toDataURL().split(',')[1]")
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)


def test_joints_are_drawn_where_the_answer_says(visit, fake):
    page = visit()
    page.check("#dark", force=True)  # only what is drawn
    page.select_option("#model", "pose_body")
    upload(page)
    answered(page)
    image_bgr = pixels(page)
    assert image_bgr.shape == (240, 320, 3)
    drawn = np.argwhere(image_bgr.max(axis=2) > 60)[:, ::-1]
    with PoseClient(fake.url, model="body") as client:
        poses = client.estimate(PICTURE)
    for (x, y), score in zip(poses.keypoints.reshape(-1, 2), poses.keypoint_scores.ravel(), strict=True):
        away = np.linalg.norm(drawn - (x, y), axis=1).min()
        assert away <= 3 if score >= 0.3 else True, (x, y, score)
    screenshot(page, "black")
    page.locator("#threshold").fill("1")
    assert pixels(page).max() < 60, "no keypoint has a score of 1"


def test_a_sample_is_answered_and_saved(visit, fake, tmp_path):
    page = visit()
    assert page.inner_text("#note") == "These are test networks."
    page.click("#samples button")
    answered(page)
    with page.expect_download() as saved:
        page.click("#save-json")
    with PoseClient(fake.url) as client:
        assert json.loads(Path(saved.value.path()).read_text()) == client.estimate(PICTURE).to_dict()
    with page.expect_download() as saved:
        page.click("#save-picture")
    assert cv2.imread(str(saved.value.path())).shape == (240, 320, 3)
    assert {"network", "read", "server", "write", "draw"} == set(
        page.eval_on_selector_all("#times span", "parts => parts.map(part => part.className)")
    )
    screenshot(page, "sample")


def test_a_moved_slider_asks_again_and_is_remembered(visit, fake):
    page = visit()
    upload(page)
    answered(page)
    assert fake.requests[-1].parameters == {}
    page.focus("#bbox_threshold")
    page.keyboard.press("ArrowRight")
    until(lambda: page.wait_for_timeout(20) or fake.requests[-1].parameters == {"bbox_threshold": "0.51"})
    page.reload()
    page.wait_for_selector("#model option", state="attached")
    assert page.input_value("#bbox_threshold") == "0.51"


def test_a_refusal_is_shown_in_words(visit, fake):
    page = visit()
    text = "in ensemble 'pose', image: 4 bytes that begin with b'oops' are no JPEG, PNG, WebP or BMP"
    fake.failures.append((grpc.StatusCode.INVALID_ARGUMENT, text))
    upload(page, b"oops")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == text
    assert page.get_attribute("#problem", "role") == "alert"
    screenshot(page, "refused")
    upload(page)
    answered(page)
    assert page.is_hidden("#problem")


def test_people_in_space_turn_with_the_mouse_and_the_keys(visit):
    page = visit()
    upload(page)
    answered(page)
    assert page.is_hidden("#space-section")
    page.select_option("#model", "pose_3d")
    page.wait_for_selector("#space-section:not([hidden])")
    content = "document.querySelector('#space').toDataURL()"
    views = [page.evaluate(content)]
    page.hover("#space")
    page.mouse.down()
    page.mouse.move(*[side + 80 for side in center(page, "#space")], steps=4)
    page.mouse.up()
    views.append(page.evaluate(content))
    page.focus("#space")
    page.keyboard.press("ArrowLeft")
    views.append(page.evaluate(content))
    screenshot(page, "space")
    page.keyboard.press("Home")
    assert len({*views}) == 3 and page.evaluate(content) == views[0]


def center(page, selector):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_camera_is_followed_until_it_is_switched_off(visit, fake):
    page = visit()
    before = len(fake.requests)
    page.click("#camera")
    page.wait_for_selector("#status:has-text('frames/s')")
    until(lambda: page.wait_for_timeout(50) or len(fake.requests) > before + 5)
    assert page.get_attribute("#camera", "aria-pressed") == "true"
    assert all(request.picture.startswith(b"\xff\xd8") for request in fake.requests[before:]), "frames are JPEG"
    page.locator("#labels").check(force=True)
    screenshot(page, "camera")
    page.click("#pause")
    page.wait_for_timeout(300)
    paused = len(fake.requests)
    page.wait_for_timeout(300)
    assert len(fake.requests) == paused
    page.click("#camera")
    assert page.get_attribute("#camera", "aria-pressed") == "false" and page.is_hidden("#pause")


def test_a_film_is_followed(visit, fake, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="makes the film").get_ffmpeg_exe()
    film = write_film(tmp_path / "film.y4m")
    command = [ffmpeg, "-loglevel", "error", "-i", str(film), "-c:v", "libvpx", str(tmp_path / "film.webm")]
    subprocess.run(command, check=True)
    page = visit()
    before = len(fake.requests)
    page.set_input_files("#file", str(tmp_path / "film.webm"))
    until(lambda: page.wait_for_timeout(50) or len(fake.requests) > before + 3)
    assert page.is_hidden("#problem")
    page.locator("#detect_every").fill("10")
    until(lambda: page.wait_for_timeout(50) or fake.requests[-1].model == "pose_from_boxes")


def test_a_refused_stream_is_reported(visit, fake):
    page = visit()
    fake.failures += [(grpc.StatusCode.INTERNAL, "internal error")] * 1000
    page.click("#camera")
    page.wait_for_selector("#problem:not([hidden])")
    assert "internal error" in page.inner_text("#problem")
    page.click("#camera")
    fake.failures.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_in_one_column(visit, scheme):
    page = visit(viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True, device_scale_factor=2)
    upload(page)
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("aside").bounding_box()["y"] > page.locator(".stage").bounding_box()["y"]
    small = page.eval_on_selector_all(
        "button:not([hidden])", "all => all.filter(one => one.offsetParent && one.offsetHeight < 36).map(one => one.id)"
    )
    assert small == [], "too small for a finger"
    screenshot(page, f"phone-{scheme}")


def test_the_page_works_by_keyboard(visit):
    page = visit()
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"model", "open", "camera", "bbox_threshold", "threshold", "boxes"} <= {*reached}
    page.focus("#samples button")
    page.keyboard.press("Enter")
    answered(page)


def test_the_description_of_the_api_is_shown(browser, url):
    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(f"{url}/docs")
        page.wait_for_selector("section table")
        text = page.inner_text("#api")
        assert "POST" in text and "bbox_threshold" in text and "curl --data-binary" in text
        screenshot(page, "docs")
