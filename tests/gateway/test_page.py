"""The page in a real browser: Debian's Chromium, headless, driven by playwright. The pose server answers by rule."""

import base64
import contextlib
import json
import os
import shutil
import socket
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

        def opened(address=url, shown="#model option", **options):
            permissions = ["camera", "clipboard-read", "clipboard-write"]
            context = stack.enter_context(closing(browser.new_context(permissions=permissions, **options)))
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
            page.wait_for_selector(shown, state="attached")
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


@pytest.mark.parametrize("token", ["", "se~cret"])
def test_the_copied_curl_line_works_in_a_shell(visit, gateway, tmp_path, token):
    name = """it's a "photo" of $HOME & `more`; really.jpg"""
    (tmp_path / name).write_bytes(PICTURE)
    page = visit(str(gateway(token=token, rate=0).base_url), shown="#token-dialog[open]" if token else "#model option")
    if token:
        give(page, token)
    page.set_input_files("#file", str(tmp_path / name))
    answered(page)
    move(page, "#bbox_threshold", "0.4")
    answered(page)
    page.click("#copy-curl")
    page.wait_for_selector("#status:has-text('Copied')")
    line = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    with page.expect_download() as saved:
        page.click("#save-json")
    assert json.loads(done.stdout) == json.loads(Path(saved.value.path()).read_text())
    assert "bbox_threshold=0.4" in line


def give(page, token):
    page.fill("#token", token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-dialog:not([open])", state="attached")


def move(page, slider, value):
    """Move a slider, and wait for the request that follows."""
    with page.expect_response("**/v1/poses*"):
        page.locator(slider).fill(value)


def test_a_token_is_asked_for_until_it_is_right(visit, gateway):
    page = visit(str(gateway(token="secret", rate=0).base_url), shown="#token-dialog[open]")
    assert page.evaluate("document.activeElement.id") == "token"
    screenshot(page, "token")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    assert page.is_hidden("#token-dialog") and "token" in page.inner_text("#problem")
    upload(page)  # asks again
    page.wait_for_selector("#token-dialog[open]")
    page.fill("#token", "wrong")
    with page.expect_response("**/v1/models") as refused:
        page.keyboard.press("Enter")
    assert refused.value.status == 401
    page.wait_for_selector("#token-dialog[open]")
    page.click("text=Cancel")
    assert page.is_hidden("#token-dialog")
    upload(page)
    page.wait_for_selector("#token-dialog[open]")
    give(page, "secret")
    answered(page)
    assert page.is_hidden("#problem")
    page.click("#camera")  # whose stream carries the token as well
    page.wait_for_selector("#rate:has-text('frames/s')")
    page.reload()  # the browser's tab remembers it
    page.wait_for_selector("#model option", state="attached")
    assert page.is_hidden("#token-dialog")


def test_a_dropped_file_is_answered(visit, fake, tmp_path):
    picture = tmp_path / "dropped.jpg"
    picture.write_bytes(PICTURE)
    page = visit()
    x, y = center(page, "#drop")
    drag = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(picture)], "dragOperationsMask": 1}

    def send(kind):
        drag.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    send("dragEnter")
    send("dragOver")
    page.wait_for_selector("#drop.over")
    send("drop")
    answered(page)
    assert fake.requests[-1].picture == PICTURE
    assert page.get_attribute("#drop", "class") == "", "neither empty nor dragged over"


def test_a_pasted_picture_is_answered(visit, fake):
    page = visit()
    png = base64.b64encode(encode(noise_picture(64, 48), ".png")).decode()
    page.evaluate(
        """async (text) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const blob = new Blob([bytes], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        png,
    )
    page.keyboard.press("Control+V")
    answered(page)
    assert cv2.imdecode(np.frombuffer(fake.requests[-1].picture, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)


def test_the_keypoint_below_the_mouse_is_named(visit, fake):
    page = visit()
    page.select_option("#model", "pose_body")
    upload(page)
    answered(page)
    with PoseClient(fake.url, model="body") as client:
        poses = client.estimate(PICTURE)
    area = page.locator("#canvas").bounding_box()
    scale = area["width"] / 320
    x, y = poses.keypoints[1, 16] * scale
    page.mouse.move(area["x"] + x, area["y"] + y)
    assert page.inner_text("#hint") == f"right ankle {poses.keypoint_scores[1, 16]:.2f} · 1"
    screenshot(page, "hint")
    page.mouse.move(area["x"] + area["width"] - 5, area["y"] + area["height"] - 5)
    assert page.is_hidden("#hint")
    page.mouse.move(area["x"] + x, area["y"] + y)
    assert page.is_visible("#hint")
    page.hover("#open")
    assert page.is_hidden("#hint")


def test_the_last_choice_counts(visit):
    """A sample that arrives late does not replace what was chosen after it."""
    page = visit()
    waiting = []
    page.route("**/samples/first.jpg", lambda route: waiting.append(route))
    page.click("#samples button")
    until(lambda: page.wait_for_timeout(20) or waiting)
    upload(page, encode(noise_picture(64, 48), ".jpg"))
    answered(page)
    for route in waiting:
        route.continue_()
    page.wait_for_timeout(500)
    assert pixels(page).shape == (48, 64, 3)


def test_a_server_that_starts_later_is_found(visit):
    late = FakeServer(networks="a")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with running(Settings(url=address, rate=0)) as client:
        page = visit(str(client.base_url), shown="#problem:not([hidden])")
        upload(page)
        page.wait_for_timeout(300)
        assert page.is_visible("#problem") and "undefined" not in page.inner_text("#problem")
        handle = start(late, address)
        until(lambda: client.get("/readyz").status_code == 200)
        upload(page)
        answered(page)
        assert page.is_hidden("#problem")
        handle.stop(None).wait()


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
    page.wait_for_selector("#rate:has-text('frames/s')")
    until(lambda: page.wait_for_timeout(50) or len(fake.requests) > before + 5)
    assert page.get_attribute("#camera", "aria-pressed") == "true"
    assert all(request.picture.startswith(b"\xff\xd8") for request in fake.requests[before:]), "frames are JPEG"
    page.locator("#labels").check(force=True)
    screenshot(page, "camera")
    page.click("#pause")
    nothing_more_is_asked(page, fake)
    page.click("#camera")
    assert page.get_attribute("#camera", "aria-pressed") == "false" and page.is_hidden("#pause")


def test_a_paused_camera_shows_what_is_changed(visit, fake):
    page = visit()
    page.click("#camera")
    page.wait_for_selector("#rate:has-text('frames/s')")
    page.click("#pause")
    page.select_option("#model", "pose_body")
    until(lambda: page.wait_for_timeout(50) or fake.requests[-1].model == "pose_body")
    nothing_more_is_asked(page, fake)


def nothing_more_is_asked(page, fake):
    """Check that a camera rests: frames under way may still arrive, but 300 ms pass without one."""

    def rests():
        before = len(fake.requests)
        page.wait_for_timeout(300)
        return len(fake.requests) == before

    until(rests)


def test_a_closed_stream_sends_nothing(visit):
    """Not even the frame that was being encoded."""
    page = visit()
    page.evaluate(
        """() => {
            const { send } = WebSocket.prototype, { convertToBlob } = OffscreenCanvas.prototype;
            window.late = 0;
            WebSocket.prototype.send = function (content) {
                if (this.readyState > WebSocket.OPEN) window.late += 1;
                else send.call(this, content);
            };
            OffscreenCanvas.prototype.convertToBlob = async function (options) {
                const blob = await convertToBlob.call(this, options);
                await new Promise((resolve) => setTimeout(resolve, 500));
                return blob;
            };
        }"""
    )
    page.click("#camera")
    page.wait_for_selector("#rate:has-text('frames/s')")
    page.wait_for_timeout(200)
    page.click("#camera")
    page.wait_for_timeout(700)
    assert page.evaluate("late") == 0


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


@pytest.mark.parametrize(("settings", "text"), [({"max_streams": 0}, "stream was closed"), ({}, "detect_every is '0'")])
def test_a_stream_that_ends_is_reported(visit, gateway, settings, text):
    """Before a frame is asked for, and in words if the gateway gives any."""
    page = visit(str(gateway(rate=0, **settings).base_url))
    page.evaluate("Object.assign(document.querySelector('#detect_every'), { min: 0, value: 0 })")
    page.click("#camera")
    page.wait_for_selector("#problem:not([hidden])")
    page.wait_for_timeout(300)
    assert text in page.inner_text("#problem")
    assert page.get_attribute("#camera", "aria-pressed") == "false"


def test_a_gateway_that_stops_is_reported(visit, fake):
    with running(Settings(url=fake.url, rate=0)) as client:
        page = visit(str(client.base_url))
        page.click("#camera")
        page.wait_for_selector("#rate:has-text('frames/s')")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.get_attribute("#camera", "aria-pressed") == "false"


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


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_shows_whole_words_of_the_description(browser, url, width):
    with closing(browser.new_context(viewport=PHONE | {"width": width})) as context:
        page = context.new_page()
        page.goto(f"{url}/docs")
        page.wait_for_selector("section table")
        screenshot(page, f"docs-{width}")
        cut = page.eval_on_selector_all(
            ".api td",
            """cells => cells.flatMap((cell) => [...cell.textContent.matchAll(/[\\w,;.]+/g)].filter((word) => {
                const range = document.createRange();
                range.setStart(cell.firstChild, word.index);
                range.setEnd(cell.firstChild, word.index + word[0].length);
                return range.getClientRects().length > 1;
            }).map(([text]) => text))""",
        )
        assert cut == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
