"""Speed of HCRM beside its peers and the bare limits of the machine, in one run: `python3 run.py bench`.

`main.main` is the entry; every section is a function `measure_…(setting)` that returns a `report.Section`.
"""
