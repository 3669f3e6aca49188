"""Makes the screenshots of a running demo's pages: `python scripts/screenshots.py --to docs/screenshots`."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from app.cli.demo import EMAIL, PASSWORD

WIDTHS = {"wide": 1440, "narrow": 390}
ARGUMENTS = [
    "--no-sandbox",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
]


def main() -> None:
    """Visit every page at both widths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="http://127.0.0.1:8400")
    parser.add_argument("--to", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--run", type=int, default=1)
    parser.add_argument("--only", default="", help="names with commas between")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for name, width in WIDTHS.items():
            visit(browser, options, name, width)
        browser.close()


def visit(browser: Browser, options: argparse.Namespace, width_name: str, width: int) -> None:
    """Save all pages at one width."""
    scheme = "dark" if options.dark else "light"
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    sign_in(page, options.root)
    wanted = {name for name in options.only.split(",") if name}
    for name, path in pages(page, options.root, options.run).items():
        if wanted and name not in wanted:
            continue
        page.goto(options.root + path, wait_until="networkidle")
        page.wait_for_timeout(300)
        file = options.to / f"{name}-{width_name}{'-dark' if options.dark else ''}.png"
        page.screenshot(path=file, full_page=True)
        print(file, page.evaluate("document.documentElement.scrollWidth"))
    context.close()


def sign_in(page: Page, root: str) -> None:
    """Sign in as the demo's owner."""
    page.goto(f"{root}/sign-in")
    page.fill("input[name=email]", EMAIL)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_load_state("networkidle")


def pages(page: Page, root: str, run: int) -> dict[str, str]:
    """Names and paths; the worst slice's page is found on the list."""
    page.goto(f"{root}/runs/{run}/slices", wait_until="networkidle")
    first = page.query_selector(f'main a[href*="/runs/{run}/slices/"]')
    slice_path = (first.get_attribute("href") or "") if first else f"/runs/{run}/slices"
    page.goto(f"{root}/runs/{run}/images", wait_until="networkidle")
    image = page.query_selector("main .thumbs a")
    image_path = (image.get_attribute("href") or "") if image else f"/runs/{run}/images"
    page.goto(f"{root}/runs/{run}/reports", wait_until="networkidle")
    report = page.query_selector('main td a[href*="/reports/"]')
    report_path = (report.get_attribute("href") or "") if report else f"/runs/{run}/reports"
    return {
        "home": "/",
        "models": "/models",
        "model": "/models/1",
        "version": "/models/1/versions/1",
        "datasets": "/datasets",
        "dataset": "/datasets/1",
        "new": "/audits/new",
        "run": f"/runs/{run}",
        "slices": f"/runs/{run}/slices",
        "slice": slice_path.split("?")[0],
        "classes": f"/runs/{run}/classes",
        "class": f"/runs/{run}/classes/3",
        "images": f"/runs/{run}/images",
        "image": image_path,
        "map": f"/runs/{run}/map",
        "ask": f"/runs/{run}/ask",
        "report": report_path,
        "robustness": f"/runs/{run}/robustness",
    }


if __name__ == "__main__":
    main()
