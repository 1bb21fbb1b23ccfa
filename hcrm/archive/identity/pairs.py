"""What people decide about a pair of archives: one person, two, or not to be told yet."""

from datetime import timedelta

import sqlalchemy as sa

from hcrm.archive.identity.matching_rule import published_rule
from hcrm.archive.identity.models import IdentityPair, PairDecision, PairState
from hcrm.archive.identity.queries import PairAsShown, get_pair
from hcrm.archive.identity.scan import compare
from hcrm.archive.links import tell_link
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import LinkKind, Patient
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.work import Work


def propose_pair(work: Work, *, patient_id: str, other_id: str) -> str:
    """Put two archives side by side that a person holds for one, whatever the rule says; the pair's id."""
    one, other = (patient_in_scope(work, key, "identity.decide") for key in (patient_id, other_id))
    if one.id == other.id:
        raise HcrmError("pair.same", "这已经是同一份档案", field="number")
    low, high = sorted((one.id, other.id))
    standing = work.scalar(
        sa.select(IdentityPair.id).where(IdentityPair.low_id == low, IdentityPair.high_id == high)
    )
    if standing:
        return str(standing)
    evidence = compare(work, low, high)
    if evidence is None:
        raise ConflictError("pair.gone", "其中一份档案已作废，或是测试患者的")
    pair = IdentityPair(
        id=work.new_id(), low_id=low, high_id=high, score=evidence.score, evidence=evidence.stored(),
        fingerprint=evidence.fingerprint, rule_version=published_rule(work).version, state=PairState.OPEN,
        note="人工提出比对", decided_by=None, decided_at=None, found_at=work.clock.now(),
    )  # fmt: skip
    work.add(pair)
    _decide(work, pair, PairState.OPEN, "人工提出比对")
    record_audit(
        work,
        action="identity.propose",
        patients=[low, high],
        subject_type="identity_pair",
        subject_id=pair.id,
    )
    return pair.id


def keep_apart(work: Work, *, pair_id: str, version: int, reason: str) -> None:
    """They are two people. Kept and not asked again unless the evidence changes; messages obey it as they do A37."""
    shown = _locked(work, pair_id, version)
    reason = _filled(reason)
    _decide(work, shown.pair, PairState.NOT_SAME, reason)
    tell_link(
        work, patient_id=shown.pair.low_id, other_id=shown.pair.high_id, kind=LinkKind.APART, source=BY_PEOPLE,
        as_of=work.clock.now(), seq=0,
    )  # fmt: skip
    _tell(work, shown, f"已核对：与另一份相似档案不是同一人（{reason}）", "identity.keep_apart")


def ask_for_data(work: Work, *, pair_id: str, version: int, reason: str) -> None:
    """It cannot be told yet: what is missing stands in the note; new evidence brings the pair up again."""
    shown = _locked(work, pair_id, version)
    _decide(work, shown.pair, PairState.NEEDS_DATA, _filled(reason))
    record_audit(
        work, action="identity.ask_for_data", patients=[shown.low.id, shown.high.id], subject_type="identity_pair",
        subject_id=pair_id,
    )  # fmt: skip


def merge_pair(
    work: Work, *, pair_id: str, version: int, survivor_id: str, reason: str, is_vip_checked: bool = False
) -> str:
    """They are one person: the archive that is not the survivor becomes part of it; the merge's id.

    What holds senders of messages back holds a person too (C23): no more than so many merges an hour, and an important
    patient only after it was said in so many words.
    """
    shown = _locked(work, pair_id, version)
    reason = _filled(reason)
    if survivor_id not in (shown.low.id, shown.high.id):
        raise HcrmError("pair.survivor", "请选择保留哪一份档案", field="survivor")
    merged = shown.high if survivor_id == shown.low.id else shown.low
    if (shown.low.is_vip or shown.high.is_vip) and not is_vip_checked:
        raise HcrmError("pair.vip", "其中有重要患者，请核对后勾选确认", field="vip")
    _require_pause(work)
    merge_id = merge_patients(work, survivor_id=survivor_id, merged_id=merged.id, source=BY_PEOPLE, seq=None)
    work.session.expire_all()
    pair = work.get(IdentityPair, pair_id)
    _decide(work, pair, PairState.MERGED, reason, merge_id=merge_id)
    add_entry(
        work, patient_id=survivor_id, happened_at=work.clock.now(), kind="merge", title=f"合并的原因：{reason}",
        subject_type="patient_merge", subject_id=merge_id,
    )  # fmt: skip
    return merge_id


def note_parted(work: Work, *, patient_id: str, other_id: str, reason: str) -> None:
    """A merge was undone: the pair, if there is one, is of two people from now on."""
    low, high = sorted((patient_id, other_id))
    pair = work.scalar(
        sa.select(IdentityPair).where(IdentityPair.low_id == low, IdentityPair.high_id == high)
    )
    if pair is not None and pair.state is not PairState.NOT_SAME:
        _decide(work, pair, PairState.NOT_SAME, reason)


def _locked(work: Work, pair_id: str, version: int) -> PairAsShown:
    """The pair as it was shown, with both patients locked in one order; refused where somebody was faster."""
    low_high = work.execute(
        sa.select(IdentityPair.low_id, IdentityPair.high_id).where(IdentityPair.id == pair_id)
    ).first()
    if low_high is not None:
        work.execute(
            sa.select(Patient.id)
            .where(Patient.id.in_(tuple(low_high)))
            .order_by(Patient.id)
            .with_for_update()
        )
    shown = get_pair(work, pair_id, action="identity.decide")
    if shown.merged_into is not None:
        raise ConflictError(
            "pair.merged", "其中一份档案已经合并，不能再次合并或反向合并；如有错误，请撤销那次合并"
        )
    if shown.pair.version != version:
        raise ConflictError("pair.changed", "这一对档案刚被别人处理过，或依据有变，请重新查看后再决定")
    if shown.is_hidden:
        raise ConflictError("pair.gone", "其中一份档案已被来源系统作废")
    if shown.is_test:
        raise ConflictError("pair.test", "其中一份是测试患者的档案，请先核对测试标记")
    return shown


def _require_pause(work: Work) -> None:
    since = work.clock.now() - timedelta(hours=1)
    done = work.scalar(
        sa.select(sa.func.count())
        .select_from(PairDecision)
        .where(
            PairDecision.actor_id == work.actor.id,
            PairDecision.decided_at > since,
            PairDecision.after == PairState.MERGED,
        )
    )
    if done >= limits.MERGES_BY_HAND_PER_HOUR:
        most = limits.MERGES_BY_HAND_PER_HOUR
        raise ConflictError(
            "pair.flood", f"一小时内已合并 {most} 次，请稍后再合并；大批重复请先与信息科核对来源"
        )


def _decide(
    work: Work, pair: IdentityPair, after: PairState, note: str, *, merge_id: str | None = None
) -> None:
    now = work.clock.now()
    before, pair.state, pair.note = pair.state, after, note
    pair.decided_by, pair.decided_at = work.actor.name, now
    work.session.flush()
    work.add(
        PairDecision(
            id=work.new_id(),
            pair_id=pair.id,
            before=before,
            after=after,
            score=pair.score,
            note=note,
            merge_id=merge_id,
            actor_id=work.actor.id,
            actor_name=work.actor.name,
            decided_at=now,
        )
    )


def _tell(work: Work, shown: PairAsShown, title: str, action: str) -> None:
    for patient in (shown.low, shown.high):
        add_entry(
            work, patient_id=patient.id, happened_at=work.clock.now(), kind="merge", title=title,
            subject_type="identity_pair", subject_id=shown.pair.id,
        )  # fmt: skip
    record_audit(
        work, action=action, patients=[shown.low.id, shown.high.id], subject_type="identity_pair",
        subject_id=shown.pair.id,
    )  # fmt: skip


def _filled(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise HcrmError("patient.reason", "请填写原因", field="reason")
    return reason
