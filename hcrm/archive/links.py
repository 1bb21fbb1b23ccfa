"""What we were told of two archives: linked, apart, mother and child. The latest word of a pair counts.

The same word said again later is the later word: what was told between the two does not stand.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from hcrm.archive.models import LinkKind, Patient, PatientLink
from hcrm.core.work import Work

_PAIRED = (LinkKind.SAME_PERSON, LinkKind.APART)


def tell_link(
    work: Work, *, patient_id: str, other_id: str, kind: LinkKind, source: str, as_of: datetime, seq: int
) -> bool:
    """Take note of a word about two archives. Whether it is news: an older one, or the same again, is none.

    The same again stands since the later of its times.
    """
    standing = _latest(work, patient_id, other_id)
    if standing is not None:
        if standing.kind is kind:
            if as_of > standing.as_of:  # the same moment is the same word, sent twice
                standing.as_of, standing.seq, standing.source = as_of, seq, source
                work.session.flush()
            return False
        if (as_of, seq) < (standing.as_of, standing.seq):
            return False
        standing.ended_at = work.clock.now()
        work.session.flush()
    work.insert(
        PatientLink,
        [
            {"id": work.new_id(), "patient_id": patient_id, "other_id": other_id, "kind": kind, "source": source,
             "as_of": as_of, "seq": seq, "created_at": work.clock.now(), "ended_at": None}
        ],
    )  # fmt: skip
    return True


def told_apart_since(work: Work, patient_id: str, other_id: str, told_at: datetime) -> bool:
    """Whether somebody said after that moment that the two are not the same person."""
    standing = _latest(work, patient_id, other_id)
    return standing is not None and standing.kind is LinkKind.APART and standing.as_of > told_at


def mothers_of(work: Work, patient_id: str) -> dict[str, str]:
    """Whom to turn to for a newborn: id and name of the mother, mostly of nobody."""
    rows = work.execute(
        sa.select(Patient.id, Patient.name)
        .join(PatientLink, PatientLink.other_id == Patient.id)
        .where(
            PatientLink.patient_id == patient_id,
            PatientLink.kind == LinkKind.MOTHER,
            PatientLink.ended_at.is_(None),
        )
    )
    return {row.id: row.name for row in rows}


def _latest(work: Work, one: str, other: str) -> PatientLink | None:
    """The word that stands; whoever asks has locked the two patients."""
    pair = sa.or_(
        sa.and_(PatientLink.patient_id == one, PatientLink.other_id == other),
        sa.and_(PatientLink.patient_id == other, PatientLink.other_id == one),
    )
    found: Sequence[PatientLink] = work.scalars(
        sa.select(PatientLink)
        .where(pair, PatientLink.kind.in_(_PAIRED), PatientLink.ended_at.is_(None))
        .order_by(PatientLink.as_of.desc(), PatientLink.seq.desc())
        .limit(1)
    )
    return found[0] if found else None
