"""Segments (分群): saved filters over the archive, the flat profile they count over, grades and the life cycle.

Other parts use `patients_of`, `is_in` and `count_patients` of `hcrm.segments.queries`, and bring fields of their own
as `hcrm.core.segment.SegmentField`.
"""
