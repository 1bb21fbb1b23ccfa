"""What was withdrawn because nobody was to call a patient stands again: they live, are no test, contact goes on."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.archive.events import (
    ContactRestored,
    DeathRevoked,
    PatientRestored,
    PatientsParted,
    PatientUnmarkedTest,
)
from hcrm.archive.models import PatientMerge
from hcrm.archive.queries import survivors_of
from hcrm.archive.reach_models import ContactStop, DeathReport
from hcrm.archive.visit_models import Encounter, EncounterStatus, VisitEvent
from hcrm.centre.events import EncounterReclassified
from hcrm.centre.instructions import NO_CUT_OVERS, CutOvers, is_history
from hcrm.centre.models import Instruction, InstructionState, Withdrawal
from hcrm.centre.replanning import follow_stays, lock_standing, replan_instructions
from hcrm.centre.stays import load_stays
from hcrm.core.work import Work

_MARGIN = timedelta(days=1)  # a discharge told before the death was noted may have been planned after it
_LEFT_ALONE = (Withdrawal.DIED, Withdrawal.NULLIFIED, Withdrawal.TEST_PATIENT, Withdrawal.CONTACT_ENDED)
_Span = tuple[datetime, datetime | None]
_Restored = DeathRevoked | PatientRestored | PatientUnmarkedTest | ContactRestored


def restore_for_living(
    work: Work,
    facts: Sequence[DeathRevoked],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """Restore what was withdrawn because these patients were thought dead, and issue what they missed; how many."""
    return _restore(work, _since(facts), "死亡登记已撤销", home_region, cut_overs)


def restore_for_restored(
    work: Work,
    facts: Sequence[PatientRestored],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """The same for patients whose sender speaks of them again after it had deleted them; how many."""
    return _restore(work, _since(facts), "档案恢复使用", home_region, cut_overs)


def restore_for_contact(
    work: Work,
    facts: Sequence[ContactRestored],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """The same for patients with whom contact is taken up again; how many."""
    return _restore(work, _since(facts), "恢复联系", home_region, cut_overs)


def restore_for_parted(
    work: Work,
    facts: Sequence[PatientsParted],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """The same where contact had ended with one of two that turned out not to be one person; how many."""
    pairs = {(fact.survivor_id, fact.merged_id) for fact in facts}
    merges = work.execute(
        sa.select(PatientMerge.survivor_id, PatientMerge.merged_id, PatientMerge.merged_at).where(
            PatientMerge.survivor_id.in_(sorted({survivor for survivor, _ in pairs})),
            PatientMerge.undone_at.is_not(None),
        )
    )
    parted = [row for row in merges if (row.survivor_id, row.merged_id) in pairs]
    today = survivors_of(work, {key for pair in pairs for key in pair})
    since = {today[key]: row.merged_at for row in parted for key in (row.survivor_id, row.merged_id)}
    only = (Withdrawal.CONTACT_ENDED,)
    return restore_withdrawn(work, sorted(since), only, "撤销合并", cut_overs) + _issue_missed(
        work, list(since.items()), home_region, cut_overs
    )


def _since(
    facts: Sequence[DeathRevoked | PatientRestored | PatientUnmarkedTest | ContactRestored],
) -> list[tuple[str, datetime]]:
    """The patients, and since when nothing was issued for them."""
    return [(fact.patient_id, datetime.fromisoformat(fact.noted_at)) for fact in facts]


def restore_for_unmarked(
    work: Work,
    facts: Sequence[PatientUnmarkedTest],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """The same for patients who were taken for test patients; how many."""
    return _restore(work, _since(facts), "不再是测试患者", home_region, cut_overs)


def _restore(
    work: Work,
    since: Sequence[tuple[str, datetime]],
    words: str,
    home_region: str | None,
    cut_overs: CutOvers,
) -> int:
    """What was withdrawn for one of these reasons stands again where none of them holds any more.

    One of them may have ended while another still held; then the end of the last brings everything back.
    """
    patients = sorted({patient_id for patient_id, _ in since})
    restored = restore_withdrawn(work, patients, _LEFT_ALONE, words, cut_overs)
    return restored + _issue_missed(work, since, home_region, cut_overs)


def _issue_missed(
    work: Work, since: Sequence[tuple[str, datetime]], home_region: str | None, cut_overs: CutOvers
) -> int:
    """Issue what was told while nothing was: since this reason, or since others that held until it came."""
    spans = _told_spans(work, {patient_id for patient_id, _ in since})
    missed = [
        EncounterReclassified(row.id, row.discharge_id)
        for patient_id, noted_at in since
        for row in work.execute(
            sa.select(Encounter.id, Encounter.discharge_id)
            .join(VisitEvent, VisitEvent.id == Encounter.discharge_id)
            .where(
                Encounter.patient_id == patient_id,
                Encounter.status == EncounterStatus.FINISHED,
                VisitEvent.told_at >= _unbroken(noted_at, spans[patient_id]) - _MARGIN,
            )
        )
    ]
    return replan_instructions(work, missed, home_region=home_region, cut_overs=cut_overs)


def _told_spans(work: Work, patient_ids: Collection[str]) -> dict[str, list[_Span]]:
    """From when to when contact with these patients had ended, or they were thought dead; None: it still holds."""
    spans: dict[str, list[_Span]] = defaultdict(list)
    for owner, start, end in (
        (ContactStop.patient_id, ContactStop.created_at, ContactStop.ended_at),
        (DeathReport.patient_id, DeathReport.created_at, DeathReport.revoked_at),
    ):
        rows: Any = work.execute(sa.select(owner, start, end).where(work.among(owner, patient_ids)))
        for patient_id, begun, ended in rows:
            spans[patient_id].append((begun, ended))
    return spans


def _unbroken(noted_at: datetime, spans: Sequence[_Span]) -> datetime:
    """When the first of the reasons began that overlap, one the next, up to that moment."""
    for start, end in sorted(spans, key=lambda span: span[0], reverse=True):
        if start < noted_at and (end is None or end >= noted_at):
            noted_at = start
    return noted_at


def restore_withdrawn(
    work: Work, patients: Sequence[str], why: Sequence[Withdrawal], words: str, cut_overs: CutOvers,
    *, without: Collection[str] = (),
) -> int:  # fmt: skip
    """Restore what these patients had withdrawn for such a reason, but for the instructions `without`; how many."""
    withdrawn = (
        Instruction.patient_id.in_(patients),
        Instruction.state == InstructionState.WITHDRAWN,
        Instruction.withdrawal.in_(why),
        Instruction.id.not_in(sorted(without)),
    )
    discharges = work.execute(sa.select(Instruction.encounter_id, Instruction.trigger_id).where(*withdrawn))
    triggers = [EncounterReclassified(row.encounter_id, row.trigger_id) for row in discharges]
    stays = {
        stay.trigger_id: stay
        for stay in load_stays(work, triggers)
        if stay.is_followed and not is_history(stay, cut_overs)
    }
    standing = lock_standing(work, *withdrawn, Instruction.trigger_id.in_(sorted(stays)))
    return follow_stays(work, standing, stays, why=words, for_good=(Withdrawal.BY_HAND,))
