"""The report in a real browser, where there is one: it renders, in light and on paper, without a word on the console."""

import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--log-level=0",
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt install chromium")


def browse(tmp_path, page, *more):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *more, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    import hubel

    folder = tmp_path_factory.mktemp("browser") / "run"
    hubel.fit("digits", recipe=hubel.Recipe(epochs=1), out=folder, quiet=True)
    return folder / "report.html"


def test_renders_without_complaint(page, tmp_path):
    done = browse(tmp_path, page, "--dump-dom")
    assert done.returncode == 0
    for text in (
        "test examples are classified correctly",
        "How the fit went",
        "Where it is wrong",
        "To reproduce it",
    ):
        assert text in done.stdout
    assert "CONSOLE" not in done.stderr


def test_prints(page, tmp_path):
    paper = tmp_path / "paper.pdf"
    browse(tmp_path, page, f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
    assert paper.stat().st_size > 20_000
