"""The explorer in a real browser: JupyterLab with headless Chromium, clicked, dragged, typed at, looked at.

Screenshots go to the folder that MASKFREE_ARTIFACTS names, else to a temporary one.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from maskfree_nb import atomic
from maskfree_nb.tkloss import Matches, disk_offsets, grid_offsets, match_patches, rgb_to_lab

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "notebook-extension/tracker": {"windowingMode": "none"},
}
# three frames of 384 x 640, maps of 96 x 160: a stereo pair of photographs is a camera that moves sideways
SCENE = """
import torch
from skimage.data import stereo_motorcycle

left, right = (torch.from_numpy(view.copy()).permute(2, 0, 1) for view in stereo_motorcycle()[:2])
frames = torch.stack([view[:, 60:444, 40 + x : 680 + x] for view, x in ((left, 24), (right, 0), (right, 8))])
"""
MASKS = """
y, x = torch.meshgrid(torch.arange(96), torch.arange(160), indexing="ij")
rings = [((x - 78 + 4 * t) / 9) ** 2 + ((y - 54) / 7) ** 2 for t in range(3)]
mask_logits = (6 - torch.stack(rings)[None]).clamp(min=-6)  # a blob that moves one cell too far
boxes = torch.stack([torch.tensor([212.0 - 16 * t, 140, 404 - 16 * t, 292]) for t in range(3)])[None]
"""
CELLS = (
    SCENE + MASKS,
    "from maskfree_nb.viz import explore\n"
    "explorer = explore(frames, mask_logits=mask_logits, boxes=boxes, pixel=(40, 60))\nexplorer",
)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory) -> Path:
    folder = os.environ.get("MASKFREE_ARTIFACTS")
    folder = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def lab_url(tmp_path_factory):
    """A JupyterLab of its own on a free port, with its own settings; a notebook with the explorer in it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed; on Debian: apt-get install chromium")
    root = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    atomic.write_text(
        root / "explorer.ipynb", nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=kernel))
    )
    for name, settings in SETTINGS.items():
        path = root / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, settings)
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = os.environ | {name: str(root / folder) for name, folder in places.items()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"),
        *("--IdentityProvider.token=", "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"),
    ]
    with open(root / "log.txt", "w") as log:
        server = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/api/status", server, root / "log.txt")
        yield f"{url}/lab/tree/explorer.ipynb"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # it waits for its kernels, long where the machine is busy
            server.kill()
            server.wait()


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            assert server.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def page(lab_url):
    """The page with every cell run and the explorer drawn; a request to another machine is an error."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1150})
        page.set_default_timeout(60_000)
        outside, errors = [], []
        page.on("request", lambda request: "//127.0.0.1" in request.url or outside.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(lab_url)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.wait_for_function("window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel")
        page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector(".mf-explorer[data-seq]", timeout=180_000)
        page.locator(".mf-explorer").scroll_into_view_if_needed()
        yield page
        browser.close()
        outside = [url for url in outside if not url.startswith(("data:", "blob:"))]
        assert outside == [] and errors == []


@pytest.fixture(scope="module")
def frames():
    scope = {}
    exec(SCENE, scope)
    return scope["frames"]


def shown(page) -> dict:
    return page.locator(".mf-explorer").evaluate("root => ({...root.dataset})")


def after(page, act) -> dict:
    """Do something and return what the explorer shows after the next answer."""
    before = shown(page)["seq"]
    act()
    page.wait_for_function("seq => document.querySelector('.mf-explorer').dataset.seq !== seq", arg=before)
    page.wait_for_timeout(150)  # the last of a burst
    return shown(page)


def click(page, y: int, x: int) -> dict:
    stage = page.locator(".mf-stage")
    cell = (stage.bounding_box()["width"] - 12) / 2 / 160
    return after(page, lambda: stage.click(position={"x": (x + 0.5) * cell, "y": (y + 0.5) * cell}))


def slide(page, name: str, value: float) -> dict:
    slider = page.locator(f"[data-slider={name}] input")
    return after(page, lambda: slider.fill(str(value)))


def listed(matches: Matches, y: int, x: int) -> str:
    return " ".join(f"{v},{u}" for v, u, _ in matches.neighbours(0, y, x))


def test_clicks_and_sliders_show_the_librarys_own_matches(page, frames, artifacts):
    lab = rgb_to_lab(frames)

    def own(y: int, x: int, *, radius: int = 5, k: int = 5, pair=(0, 1)) -> str:
        matches = match_patches(lab, [pair], disk_offsets(radius), k=k, return_index=True)
        return listed(matches, y, x)

    for y, x in ((22, 59), (84, 82)):
        answer = click(page, y, x)
        assert answer["pixel"] == f"{y},{x}"
        assert answer["matches"] == own(y, x)
    page.screenshot(path=artifacts / "matches.png")
    assert slide(page, "k", 9)["matches"] == own(84, 82, k=9) != own(84, 82)
    assert slide(page, "radius", 7)["matches"] == own(84, 82, k=9, radius=7)
    assert slide(page, "pair", 1)["matches"] == own(84, 82, k=9, radius=7, pair=(1, 2))


def test_the_official_switch_matches_as_the_published_code(page, frames, artifacts):
    answer = after(page, page.locator("[data-version=official]").click)
    matches = match_patches(
        rgb_to_lab(frames, channel_order="bgr"),
        [(1, 2)],
        grid_offsets(1, 3),
        border="zero",
        return_index=True,
    )
    assert answer["matches"] == listed(matches, 84, 82)
    page.screenshot(path=artifacts / "official.png")
    after(page, page.locator("[data-version=paper]").click)
    assert page.locator("[data-slider=radius] input").input_value() == "5"


def test_arrow_keys_move_the_pixel_and_not_the_notebook(page):
    y, x = map(int, click(page, 50, 80)["pixel"].split(","))
    cell = page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    assert after(page, lambda: page.keyboard.press("ArrowDown"))["pixel"] == f"{y + 1},{x}"
    assert after(page, lambda: page.keyboard.press("Shift+ArrowLeft"))["pixel"] == f"{y + 1},{x - 5}"
    assert page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex") == cell


def test_a_drag_follows_the_pointer(page):
    box = page.locator(".mf-stage").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150, steps=10)
    page.mouse.up()
    page.wait_for_timeout(1000)
    cell = (box["width"] - 12) / 2 / 160
    assert shown(page)["pixel"] == f"{int(150 / cell)},{int(200 / cell)}"


def test_masks_and_loss_view_and_playing(page, artifacts):
    click(page, 54, 90)
    after(page, page.locator("[data-view=loss]").click)
    assert "the frame pair costs" in page.locator(".mf-case").inner_text()
    page.screenshot(path=artifacts / "loss.png")
    after(page, page.locator("[data-view=matches]").click)
    pairs = set()
    page.locator(".mf-play").click()
    for _ in range(4):
        before = shown(page)["seq"]
        page.wait_for_function(
            "seq => document.querySelector('.mf-explorer').dataset.seq !== seq", arg=before
        )
        pairs.add(page.locator("[data-slider=pair] output").inner_text())
    page.locator(".mf-play").click()
    assert pairs == {"0 → 1", "1 → 2", "2 → 0"}


def test_every_click_is_answered_and_how_fast(page, capsys):
    """Prints the time from the pointer going down to the frame after the drawing, at maps of 96 x 160."""
    page.evaluate(
        """() => {
          const root = document.querySelector('.mf-explorer');
          window.times = [];
          root.addEventListener('pointerdown', () => { window.pressed = performance.now(); }, true);
          const note = () => window.times.push(performance.now() - window.pressed);
          new MutationObserver(() => requestAnimationFrame(note))
            .observe(root, { attributes: true, attributeFilter: ['data-seq'] });
        }"""
    )
    for place in range(11):
        click(page, 20 + 5 * place, 30 + 9 * place)
    times = sorted(page.evaluate("window.times"))
    with capsys.disabled():
        print(f"\nclick to redraw: median {times[len(times) // 2]:.0f} ms, slowest {times[-1]:.0f} ms")
    assert len(times) >= 11  # how fast depends on the machine: printed, not judged


def test_dark_theme_zoom_and_small_window(page, artifacts):
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.wait_for_selector("[data-jp-theme-light=false]", state="attached")
    page.locator("[data-slider=zoom] input").fill("4")
    assert click(page, 10, 20)["seq"]
    page.screenshot(path=artifacts / "dark-zoom.png")


def test_a_picture_outlives_the_kernel(page, artifacts):
    """In the open page what was drawn stays; in a page opened later the still picture stands in."""
    still = page.locator(".jp-OutputArea-child .jp-RenderedImage img")
    assert not still.is_visible()
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_timeout(3000)
    levels = "stage.getContext('2d').getImageData(0, 0, stage.width, stage.height).data"
    assert page.locator(".mf-stage").evaluate(f"stage => {levels}.some(level => level > 0)")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.goto(page.url)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    still.scroll_into_view_if_needed()
    assert still.is_visible() and still.evaluate("image => image.naturalWidth") > 500
    page.screenshot(path=artifacts / "without-kernel.png")
