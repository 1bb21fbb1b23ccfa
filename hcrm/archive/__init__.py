"""The patient archive: who they are, how to reach them, their stays; each value with its source.

Public: `service.absorb_records` (what adapters hand over), `queries` (one door for people),
`merge.merge_patients`, `timeline.add_entry`.
"""
