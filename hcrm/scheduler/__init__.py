"""The clock of the house: every job on one page (`table.py`), fired once whoever ticks (`run.py`)."""
