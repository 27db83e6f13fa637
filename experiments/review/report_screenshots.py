"""Screenshots of report.html: on a desk in the light and in the dark, and on a phone.

    python report_screenshots.py                  # of a study of its own: digits, 30 trials, about 3 minutes
    python report_screenshots.py OUTPUTS/STUDY    # of one that is there

Writes report-light.png, report-dark.png and report-phone.png beside this file. Needs playwright and Debian's chromium.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1200, "height": 1180}},
    "dark": {"viewport": {"width": 1200, "height": 1180}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True},
}


def autoopt(where: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "autoopt", *words], cwd=where, check=True, stdout=subprocess.DEVNULL)


def take(page_file: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, options in VIEWS.items():
            page = browser.new_context(**options).new_page()
            page.goto(page_file.as_uri())
            page.wait_for_selector(".js-plotly-plot .scatterlayer")
            page.wait_for_timeout(500)  # the charts are drawn anew once their width is known
            page.screenshot(path=HERE / f"report-{name}.png")
        browser.close()


def main() -> None:
    with TemporaryDirectory() as work:
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1]).absolute()
        else:
            folder = Path(work) / "outputs" / "review"
            autoopt(Path(work), "task=digits", "study=review", "budget.trials=30", "tracking=none")
        # From beside the outputs folder: the commands on the page need no path then.
        autoopt(folder.parents[1], "report", f"study={folder.name}", f"outputs={folder.parent.name}")
        take(folder / "report.html")


if __name__ == "__main__":
    main()
