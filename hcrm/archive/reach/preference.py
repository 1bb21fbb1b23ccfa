"""How and when a patient would be reached (首选渠道、方便的时间): two fields of the archive, beside numbers to call."""

from collections.abc import Collection
from dataclasses import dataclass

from hcrm.archive.fields.service import published_fields, values_of
from hcrm.core.work import Work

CHANNEL_FIELD, TIME_FIELD = "preferred_channel", "preferred_time"
"""Their codes in `config/fields.yaml`."""


@dataclass(frozen=True, slots=True)
class Preference:
    """What the patient said, in words; empty where nobody asked."""

    channel: str = ""
    times: str = ""

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return bool(self.channel or self.times)


NOTHING_SAID = Preference()


def preferences_of(work: Work, patient_ids: Collection[str]) -> dict[str, Preference]:
    """Of each of these patients; two queries."""
    found = dict.fromkeys(patient_ids, NOTHING_SAID)
    fields = published_fields(work).by_code
    for patient_id, standing in values_of(work, sorted(found), codes=(CHANNEL_FIELD, TIME_FIELD)).items():
        channel, times = (
            "、".join(dict.fromkeys(fields[code].words(row.value) for row in standing.get(code, ())))
            if code in fields
            else ""
            for code in (CHANNEL_FIELD, TIME_FIELD)
        )
        found[patient_id] = Preference(channel, times)
    return found
