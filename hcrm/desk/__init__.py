"""Pages that show several parts at once: patient search and record, workbench, department board, system state.

`fhir_api` answers machine clients by FHIR R4B over the resources of all parts; `capability` says what it can do.

Nearly everything here reads; an act is done by the part it belongs to. Row scope and audit are the archive's
(`archive.scope`, `archive.queries`).
"""
