"""Test patients by rule or mark."""
