"""A finished follow-up as a record, and where it goes."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from adapters.his.build import build_follow_up
from hcrm.archive.terms import EncounterClass, Sex
from hcrm.core.destinations import Destination
from hcrm.inbox.outbound_records import (
    AnswerKind,
    AnswerOut,
    EncounterOut,
    FlagOut,
    FollowUpOut,
    NumberOut,
    PatientOut,
)

DONE = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)  # 09:30 in Shanghai
FEVER = FlagOut("fever", "R2", "当日联系医师", is_urgent=False)
FOLLOW_UP = FollowUpOut(
    instruction_id="0192f0c4d5e67000a1b2c3d4e5f60718",
    patient=PatientOut(
        (NumberOut("H1", "MR", "00481516"), NumberOut("H2", "", "77")), "欧阳\\建国|𠮷", Sex.MALE, date(1966, 3, 7)
    ),
    encounter=EncounterOut(
        "H1", "V1", EncounterClass.INPATIENT, "D1", "心内科", datetime(2026, 11, 10, tzinfo=UTC),
        datetime(2026, 11, 15, tzinfo=UTC),
    ),
    form_code="test.call", form_title="电话随访", step_title="出院一周电话随访", outcome_code="reached",
    outcome_label="已随访",
    answers=(
        AnswerOut("pain", "疼痛", AnswerKind.NUMBER, (("3", ""),)),
        AnswerOut("temperature", "体温", AnswerKind.NUMBER, (("38.6", ""),), "℃", (FEVER,)),
        AnswerOut("drugs", "药物", AnswerKind.CODED, (("a", "阿司匹林"), ("b", "他汀"))),
        AnswerOut("visit_on", "复诊", AnswerKind.DATE, (("2026-12-01", ""),)),
        AnswerOut("remark", "其他", AnswerKind.TEXT, (("第一行|^~&\\\n第二行", ""),)),
    ),
    done_at=DONE, author_name="李大夫",
)  # fmt: skip


def destination(port: int = 1, **changes: Any) -> Destination:
    values = {
        "code": "his", "title": "HIS", "host": "127.0.0.1", "port": port, "receiving_application": "HIS",
        "receiving_facility": "H1", "answer_seconds": 5.0, "connect_seconds": 5.0,
    }  # fmt: skip
    return Destination.model_validate(values | changes)


def written(to: Destination, control_id: str = "H1", **changes: Any) -> bytes:
    return build_follow_up(replace(FOLLOW_UP, **changes), to, control_id, DONE).payload
