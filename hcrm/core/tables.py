"""Every table of the house in one place, for migrations and whoever needs the whole schema."""

import importlib
import pkgutil

_ROOTS = ("hcrm", "followup", "community", "tcm_care")


def load_tables() -> None:
    """Import every module that declares tables: `models.py`, `*_models.py`, and the three in core."""
    for name in ("hcrm.core.definitions", "hcrm.core.events", "hcrm.core.installation"):
        importlib.import_module(name)
    for root in _ROOTS:
        package = importlib.import_module(root)
        for module in pkgutil.walk_packages(package.__path__, f"{root}."):
            if module.name.endswith((".models", "_models")):
                importlib.import_module(module.name)
