"""Numbers that open: `service.run_measure` counts, `queries.list_rows` shows exactly what was counted."""
