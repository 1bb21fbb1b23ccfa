"""A day at the console with every logger at its most talkative: no line says anything of a patient."""

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.contact_log.models import ContactEntry
from hcrm.core.ids import new_id
from tests.support.builders import publish_fields, publish_matching
from tests.support.console import Browser, MakePerson
from tests.support.importing import Intake, csv_file

NAME, OTHER, PHONE, ID_NUMBER, WRITTEN = (
    "司徒晓岚",
    "欧阳子墨",
    "13912345678",
    "330106199003070022",
    "过敏性紫癜",
)
WORDS = (NAME, OTHER, PHONE, PHONE[-8:], ID_NUMBER, "situxiaolan", WRITTEN)


def test_no_log_line_of_the_console_holds_a_name_a_number_or_what_was_written(
    write: Callable[..., Any], browser_of: Callable[[str], Browser], make_person: MakePerson, intake: Intake,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write(publish_matching)
    write(publish_fields)
    make_person()
    desk = browser_of("wang")
    caplog.set_level(logging.DEBUG)

    def post(path: str, fields: dict[str, Any], *, status: int = 303) -> Any:
        answer = desk.post(path, fields)
        assert answer.status_code == status, (path, answer.text[300:1900])
        return answer

    desk.get("/import/new")
    table = csv_file(("病案号", "姓名", "电话"), ("1", OTHER, PHONE), ("", NAME, "不是" + PHONE))
    upload = {"kind": "patients", "file": (io.BytesIO(table), f"{NAME}.csv")}
    run = post("/import/new", upload).location.split("/")[2]
    columns = {"option-number_kind": "|MR", "column-record_no": "0", "column-name": "1", "column-phone": "2"}
    post(f"/import/{run}/columns", columns)
    while intake.advance():
        pass
    post(f"/import/{run}/run", {})
    while intake.advance():
        pass

    desk.get("/patients/new")
    born = {"sex": "female", "birth_date": "1990-03-07"}
    post("/patients/new", {"name": NAME, "phone": PHONE, "id_number": ID_NUMBER, **born})
    key = write(lambda work: work.one(Patient, Patient.name == NAME).id)
    for words in (NAME, PHONE, PHONE[-4:], ID_NUMBER, "situxiaolan", "%'\"" + WRITTEN):
        assert post("/patients", {"q": words})
    post("/patients", {"q": NAME * 1_000}, status=422)
    page = f"/patients/{key}"
    post(f"{page}/notes", {"text": WRITTEN + PHONE})
    post(f"{page}/tags", {"tag": WRITTEN})
    post(f"{page}/fields/past_history", {"value": WRITTEN})
    call = {"record_id": new_id(), "channel": "phone", "result": "reached", "note": WRITTEN}
    post(f"{page}/contacts/new", call)
    post(f"{page}/contacts/new", {**call, "record_id": new_id(), "happened_at": WRITTEN}, status=422)
    was = {"was_name": NAME, "was_sex": "female", "was_birth_date": "1990-03-07"}
    post(f"{page}/base", {"name": OTHER, **born, **was})
    for end in ("", "?tab=notes", "?tab=contacts", "?tab=history", "/sheet", "/numbers"):
        assert desk.get(page + end).status_code == 200
    assert write(lambda work: work.scalar(sa.select(sa.func.count()).select_from(ContactEntry))) == 1

    purpose = {"purpose": "research", "purpose_text": NAME, "file_form": "csv", "list": "patients"}
    post("/export/new", {**purpose, "columns": ["name"], "asked-q": PHONE}, status=422)
    post("/export/new", {**purpose, "columns": ["name"]})

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"no card for {NAME} {PHONE}")

    monkeypatch.setattr("hcrm.desk.patient_views.load_card", broken)
    assert desk.get(page).status_code == 500

    lines = "".join([*capfd.readouterr(), caplog.text])
    assert "RuntimeError" in lines
    assert [word for word in WORDS if word in lines] == []


def test_a_statement_that_fails_names_no_value(database: Any) -> None:
    with pytest.raises(sa.exc.DBAPIError) as refusal, database.writer.connect() as connection:
        connection.execute(sa.text("SELECT x FROM nowhere WHERE name = :name"), {"name": NAME})

    assert NAME not in str(refusal.value)
