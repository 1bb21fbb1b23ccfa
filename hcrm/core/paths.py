"""Where `config/` and `templates/` lie: HCRM_HOME, the checkout, or inside the wheel."""

import os
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def _root(kind: str) -> Path:
    home = os.environ.get("HCRM_HOME")
    candidates = [Path(home)] if home else []
    candidates += [_PACKAGE.parent, _PACKAGE / "_data"]
    for candidate in candidates:
        if (candidate / kind).is_dir():
            return candidate / kind
    raise FileNotFoundError(f"no {kind}/ in {', '.join(map(str, candidates))}")


def config_path(*parts: str) -> Path:
    """A file or folder of `config/`, which a hospital changes."""
    return _root("config").joinpath(*parts)


def template_path(*parts: str) -> Path:
    """A file or folder of `templates/`: everything that is rendered."""
    return _root("templates").joinpath(*parts)


def package_path(*parts: str) -> Path:
    """A file or folder inside the package: migrations, static files."""
    return _PACKAGE.joinpath(*parts)
