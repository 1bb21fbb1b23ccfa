import re
import shutil
from pathlib import Path

import pytest

from hcrm.core.paths import package_path, template_path
from hcrm.web.assets import VENDOR, asset_version, check_assets, read_manifest
from hcrm.web.nav import CREATE_MENU, MENUS


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VENDOR, tmp_path / "vendor"))


def test_vendored_files_are_as_their_makers_published_them():
    assert check_assets() == []


def test_every_vendored_package_brings_its_licence():
    packages = {entry.name for entry in read_manifest()}
    with_licence = {entry.name for entry in read_manifest() if entry.source.startswith("LICENSE")}

    assert packages == with_licence == {"bootstrap", "bootstrap-icons", "echarts", "htmx.org", "tinykeys"}


def test_a_changed_a_missing_and_a_foreign_file_are_each_named(copied):
    (copied / "htmx.org/htmx.min.js").write_text("changed")
    (copied / "tinykeys/LICENSE").unlink()
    (copied / "stray.js").write_text("")

    assert check_assets(copied) == [
        "changed: htmx.org/htmx.min.js",
        "missing: tinykeys/LICENSE",
        "not listed: stray.js",
    ]


def test_the_version_in_an_address_follows_the_content(monkeypatch, tmp_path):
    monkeypatch.setattr("hcrm.web.assets.package_path", lambda *parts: tmp_path.joinpath(*parts[1:]))
    file = tmp_path / "a.css"
    file.write_text("one")
    before = asset_version("a.css")
    file.write_text("another")

    assert asset_version("a.css") != before


def test_the_sprite_holds_every_icon_that_pages_and_menus_name():
    sprite = (VENDOR / "bootstrap-icons/sprite.svg").read_text(encoding="utf-8")
    held = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    entries = [entry for menu in (*MENUS.values(), CREATE_MENU) for entry in menu]
    named = {one.icon for entry in entries for one in (entry, *entry.desks)}
    for page in template_path("web").rglob("*.html"):
        named |= set(re.findall(r'icon\("([a-z0-9-]+)"', page.read_text(encoding="utf-8")))

    assert named <= held


def test_our_own_style_keeps_to_what_chrome_109_knows():
    """Windows 7 machines in hospitals stop at that version: no oklch, no color-mix, no nesting."""
    style = package_path("static", "css", "hcrm.css").read_text(encoding="utf-8")
    without_comments = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)

    assert not re.search(r"oklch|color-mix|light-dark|&|@layer|@scope", without_comments)
    depth = deepest = 0
    for sign in re.sub(r"@(media|page)[^{]*\{", "", without_comments):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        deepest = max(deepest, depth)
    assert deepest == 1
