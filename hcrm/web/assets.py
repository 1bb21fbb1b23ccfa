"""Files of others in `hcrm/static/vendor`: listed with version, licence and hash, checked, refreshed from npm.

A developer changes a version or an icon name in `vendor.json` and runs `python -m hcrm.web.assets refresh`; without
an argument the files are only compared with the list. Pages load nothing from elsewhere (libraries.md 2.6).
"""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from hcrm.core.paths import package_path

VENDOR = package_path("static", "vendor")
MANIFEST = "vendor.json"


class VendoredFile(BaseModel):
    """One file taken from an npm package, or the sprite made of its `icons`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    version: str
    licence: str
    source: str
    file: str
    sha256: str
    icons: list[str] | None = None


_MANIFEST = TypeAdapter(list[VendoredFile])


def read_manifest(folder: Path = VENDOR) -> list[VendoredFile]:
    """The list of vendored files."""
    return _MANIFEST.validate_json((folder / MANIFEST).read_bytes())


def check_assets(folder: Path = VENDOR) -> list[str]:
    """What differs from the list: changed, missing and unlisted files."""
    entries = read_manifest(folder)
    faults = []
    for entry in entries:
        path = folder / entry.file
        if not path.is_file():
            faults.append(f"missing: {entry.file}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
            faults.append(f"changed: {entry.file}")
    listed = {entry.file for entry in entries} | {MANIFEST}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return faults + [f"not listed: {name}" for name in sorted(present - listed)]


def refresh_assets(folder: Path = VENDOR) -> None:
    """Fetch every package at its listed version from npm, write the files and their hashes."""
    entries = read_manifest(folder)
    with tempfile.TemporaryDirectory() as scratch:
        packed = {
            key: _pack(*key, Path(scratch)) for key in {(entry.name, entry.version) for entry in entries}
        }
        for entry in entries:
            with tarfile.open(packed[entry.name, entry.version]) as package:
                if entry.icons is None:
                    body = _member(package, entry.source)
                else:
                    entry.icons = sorted(set(entry.icons))
                    body = _sprite(
                        {name: _member(package, f"{entry.source}{name}.svg") for name in entry.icons}
                    )
            target = folder / entry.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
            entry.sha256 = hashlib.sha256(body).hexdigest()
    listed = [entry.model_dump(exclude_none=True) for entry in entries]
    (folder / MANIFEST).write_text(json.dumps(listed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _pack(name: str, version: str, scratch: Path) -> Path:
    home = scratch / f"{name.replace('/', '_')}-{version}"
    home.mkdir()
    subprocess.run(
        ["npm", "pack", "--silent", f"{name}@{version}"], cwd=home, check=True, stdout=subprocess.DEVNULL
    )
    return next(home.glob("*.tgz"))


def _member(package: tarfile.TarFile, source: str) -> bytes:
    member = package.extractfile(f"package/{source}")
    if member is None:
        raise ValueError(f"{source} is not a file of the package")
    return member.read()


def _sprite(drawings: dict[str, bytes]) -> bytes:
    """One SVG of symbols, so that a page fetches a few kilobytes once instead of a font of two thousand signs."""
    symbols = []
    for name, drawing in drawings.items():
        found = re.search(r'viewBox="([^"]+)">(.*)</svg>', drawing.decode(), re.DOTALL)
        if found is None:
            raise ValueError(f"no drawing in {name}.svg")
        body = "".join(line.strip() for line in found[2].splitlines())
        symbols.append(f'<symbol id="{name}" viewBox="{found[1]}">{body}</symbol>')
    return ('<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n").encode()


def asset_version(file: str) -> str:
    """A few characters that change with the content, so that browsers may keep the file for a year."""
    path = package_path("static", *file.split("/"))
    return _digest(path, path.stat().st_mtime_ns)


@cache
def _digest(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def main(arguments: list[str]) -> int:
    """`refresh` fetches, nothing compares; 1 when something differs."""
    if arguments == ["refresh"]:
        refresh_assets()
    faults = check_assets()
    sys.stdout.write("\n".join(faults or ["vendored files are as listed"]) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
