"""The example profiles of docs/howto/connect-a-his.md, read as a hospital would: copied into a folder of sources."""

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hcrm.core.sources import Sources, load_sources

_PAPER = Path(__file__).resolve().parents[2] / "docs" / "howto" / "connect-a-his.md"
_EXAMPLE = re.compile(r"```yaml\n(code: (\w+)\n.*?)```", re.DOTALL)


@cache
def example_files() -> dict[str, str]:
    """Code of each example and its text."""
    return {code: text for text, code in _EXAMPLE.findall(_PAPER.read_text(encoding="utf-8"))}


def example_sources(*more: str) -> Sources:
    """All of them as one installation; `more` are further files."""
    with TemporaryDirectory() as folder:
        for name, text in {
            **example_files(),
            **{f"more{number}": text for number, text in enumerate(more)},
        }.items():
            (Path(folder) / f"{name}.yaml").write_text(text, encoding="utf-8")
        return load_sources(Path(folder))
