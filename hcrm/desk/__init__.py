"""Pages that show several parts at once: patient search and record, workbench, department board, system state.

Everything here reads. Row scope and audit are the archive's (`archive.scope`, `archive.queries`).
"""
