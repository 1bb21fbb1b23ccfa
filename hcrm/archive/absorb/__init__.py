"""Rows of patients, visits, lists and clinical items, told by messages and files: two clocks, one rule each."""
