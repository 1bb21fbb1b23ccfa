"""Every table that names a patient is decided about: what becomes of its rows when an import is reverted."""

import importlib
from pathlib import Path

import hcrm.core
from hcrm.core.db import Base
from hcrm.exchange.revert import APART, FOLLOWS, HOLDS

_BY_OWN_KEY = {"patient_profile"}  # its key is the patient's


def load_every_table() -> None:
    root = Path(hcrm.core.__file__).parents[2]
    for path in (*root.glob("*/*/models.py"), *root.glob("*/*_models.py"), *root.glob("*/*/*_models.py"),
                 *root.glob("*/models.py")):  # fmt: skip
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        if name.partition(".")[0] in ("hcrm", "followup", "community", "tcm_care", "adapters"):
            importlib.import_module(name)


def test_what_a_revert_does_with_each_table_that_names_a_patient_is_decided() -> None:
    """Add a new table to one of the three in `hcrm/exchange/revert.py`, whichever is true of its rows."""
    load_every_table()
    naming = {
        table.name
        for table in Base.metadata.tables.values()
        for column in table.c
        if column.name.endswith("patient_id")
        or any(key.column.table.name == "patient" for key in column.foreign_keys)
    } | _BY_OWN_KEY

    assert naming == FOLLOWS.keys() | HOLDS | APART
    assert not (HOLDS | APART) & FOLLOWS.keys()
    assert not HOLDS & APART
    for name, columns in FOLLOWS.items():
        assert set(columns) <= set(Base.metadata.tables[name].c.keys())
