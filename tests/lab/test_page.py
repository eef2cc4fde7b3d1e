"""The page of `discriminat suggest` in a real browser: it fits a phone, and what a workload wrote stays text.

The browser is that of the tree of clients. The page forbids scripts, so another one measures it, in a frame.
"""

import html
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.edge.suffix_list import read_suffixes
from appliance.family import Terms
from appliance.page import render_page, write_page
from appliance.policy.exposure import Guard
from appliance.suggestion import suggest
from appliance.usage import Usage
from image.tools import Tree
from tests.lab.programs import tree
from tests.sightings import GROUP, MORNING, OTHER_GROUP, line
from tests.terraform.allowlists import of_length

PHONE, DESKTOP = (390, 844), (1280, 800)
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir=/tmp/profile"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"),
)
MEASURE = """<!doctype html>
<iframe id="frame" style="border: 0; width: {width}px; height: {height}px" src="page.html"></iframe>
<script>
// What a reader sees who opens the names that a pattern stands for, and how wide it is then.
const unfold = page => {{
  page.querySelectorAll("details").forEach(each => each.querySelector("summary").click());
  return {{text: page.body.innerText, scrolled: page.documentElement.scrollWidth}};
}};
document.getElementById("frame").onload = event => {{
  const page = event.target.contentDocument, inner = event.target.contentWindow;
  const style = name => inner.getComputedStyle(page.querySelector(name));
  const outside = [...page.querySelectorAll("body *")].filter(each => each.tagName != "THEAD" && !each.closest("thead")
    && (each.getBoundingClientRect().right > inner.innerWidth + 0.5 || each.getBoundingClientRect().left < 0));
  document.body.textContent = JSON.stringify({{
    width: inner.innerWidth,
    scrolled: page.documentElement.scrollWidth,
    outside: outside.map(each => each.outerHTML.slice(0, 80)),
    title: page.title,
    scripts: page.querySelectorAll("script, img, iframe, link").length,
    text: page.body.innerText,
    unfolded: unfold(page),
    terraform: page.getElementById("terraform").textContent,
    radius: style("li").borderRadius,
    ink: style("body").color,
  }});
}};
</script>
"""


@pytest.fixture(scope="module")
def browser() -> Tree:
    """The tree that has Chromium."""
    made = tree()
    if made is None:
        pytest.skip("there is no tree of clients: make test-clients, as root")
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that a page can have: two groups, long names, a crowd, and what cannot become a rule."""
    usage = Usage()
    for text in (
        *(line(f"service-{index}.example.com", at=MORNING + timedelta(hours=index)) for index in range(12)),
        *[line(of_length(239, "x"), 65535)] * 10_000,
        *(line(f"d{index}.{'e' * 60}.example.net", gid=OTHER_GROUP) for index in range(30)),
        *(line(f"n{index}.cdn.example.com") for index in range(40) for _ in range(3)),
        line("git.example.com", gid="%default"),
        line("", 22, protocol="ssh", version="2.0"),
        line(HOSTILE),
        line("x" * 500),
        "no event",
    ):
        usage.read(text)
    made = tmp_path_factory.mktemp("page")
    write_page(made / "page.html", render_page(suggest(usage, terms=Terms(Guard(suffixes=read_suffixes())))))
    return made


def measure(browser: Tree, folder: Path, size: tuple[int, int], *switches: str) -> dict[str, Any]:
    """Return what the page looks like in a window of this size."""
    (folder / "measure.html").write_text(MEASURE.format(width=size[0], height=size[1]))
    dom = browser.run(("chromium", *SWITCHES, *switches, "file:///work/measure.html"), folder)
    found = re.search(r"<body>(\{.*\})\s*</body>", dom, re.DOTALL)
    assert found is not None, dom[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_is_wider_than_the_window(browser: Tree, folder: Path, size: tuple[int, int]) -> None:
    """Whatever the length of a name: nobody has to scroll sideways, and nothing is cut off."""
    seen = measure(browser, folder, size)

    assert seen["width"] == size[0]
    assert seen["scrolled"] <= seen["width"]
    assert seen["outside"] == []


def test_the_pages_own_style_is_let_in(browser: Tree, folder: Path) -> None:
    """Its policy names the digest of it; another style would be refused."""
    assert measure(browser, folder, PHONE)["radius"] != "0px"
    page = (folder / "page.html").read_text()
    try:
        (folder / "page.html").write_text(page.replace("border-radius: .4rem", "border-radius: .5rem"))
        assert measure(browser, folder, PHONE)["radius"] == "0px"
    finally:
        (folder / "page.html").write_text(page)


def test_a_hostile_name_is_text(browser: Tree, folder: Path) -> None:
    """It is read as it was written, and makes no element."""
    seen = measure(browser, folder, PHONE)

    assert seen["title"] == "discriminat: suggested allowlist"
    assert seen["scripts"] == 0
    assert "<script>document.title=" in seen["text"]


def test_it_has_what_a_reader_looks_for(browser: Tree, folder: Path) -> None:
    """Groups, sums, what cannot be listed, and Terraform to copy."""
    seen = measure(browser, folder, PHONE)

    for text in (GROUP, "service-7.example.com", "SSH carries no name", "Held back", "10000"):
        assert text in seen["text"]
    assert f'security_group_id = "{GROUP}"' in seen["terraform"]


def test_a_pattern_shows_what_it_stands_for_when_it_is_opened(browser: Tree, folder: Path) -> None:
    """On a tap, without a script, and still no wider than the phone."""
    seen = measure(browser, folder, PHONE)

    assert "n*.cdn.example.com" in seen["text"]
    assert "stands for 40 names seen" in seen["text"]
    assert "n39.cdn.example.com" not in seen["text"].partition("Terraform")[0]
    assert "n39.cdn.example.com" in seen["unfolded"]["text"].partition("Terraform")[0]
    assert seen["unfolded"]["scrolled"] <= seen["width"]
    assert '"n*.cdn.example.com",' in seen["terraform"]


def test_it_is_dark_where_the_phone_is(browser: Tree, folder: Path) -> None:
    """Light ink there, dark ink elsewhere."""
    inks = {
        each: measure(browser, folder, PHONE, f"--blink-settings=preferredColorScheme={each}")["ink"] for each in (0, 1)
    }

    assert inks == {0: "rgb(255, 255, 255)", 1: "rgb(0, 0, 0)"}
