"""HL7 over HTTP, plain and in SOAP: stored before it is answered, by whom the token says, or not at all."""

import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditEvent, AuditOutcome
from hcrm.core.actor import system_actor
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.core.xml import XmlRefused, read_xml
from hcrm.inbox import api
from hcrm.inbox.intake import StoreUnavailable
from hcrm.inbox.models import InboxMessage
from tests.support.console import app as app
from tests.support.console import settings as settings
from tests.support.listener import adt, refusals, stored

S11, S12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
ER7 = "application/hl7-v2"


class Sender:
    """A machine with a token."""

    def __init__(self, app, token: str) -> None:
        self._client = app.test_client()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def post(self, body: bytes, path: str = "/hl7v2", content_type: str = ER7, **headers: str):
        return self._client.post(
            path, data=body, content_type=content_type, headers={**self._headers, **headers}
        )

    def soap(self, payload: str, path: str = "/hl7v2/soap", version: str = S11):
        kind = "text/xml; charset=utf-8" if version == S11 else "application/soap+xml; charset=utf-8"
        return self.post(envelope(payload, version).encode(), path, kind)


def envelope(payload: str, version: str = S11) -> str:
    inside = f'<h:Receive xmlns:h="urn:bus">{payload}</h:Receive>'
    return f'<s:Envelope xmlns:s="{version}"><s:Body>{inside}</s:Body></s:Envelope>'


@pytest.fixture
def sender_named(app, database, clock):
    """A sender by the name of its token; keywords name other scopes."""

    def make(name: str = "engine", *scopes: str) -> Sender:
        from hcrm.accounts.service import create_token

        with open_work(database, actor=system_actor("test"), clock=clock) as work:
            token = create_token(work, name=name, scopes=scopes or ("inbox.write",))
        return Sender(app, token)

    return make


@pytest.fixture
def sender(sender_named) -> Sender:
    return sender_named()


@pytest.fixture
def use_sources(app):
    """These sources instead of the shipped ones."""

    def use(*sources: Source) -> None:
        app.extensions["hcrm.inbox.sources"] = Sources([Source(code="default", title="default"), *sources])

    return use


def peers(database) -> list[str]:
    with database.main.connect() as connection:
        return list(connection.scalars(sa.select(InboxMessage.peer)))


# ── POST /hl7v2 ─────────────────────────────────────────────────────────────


def test_a_message_is_stored_and_answered_with_its_ack(sender, database):
    answer = sender.post(adt("1"))

    assert (answer.status_code, answer.mimetype) == (200, ER7)
    assert answer.data.startswith(b"MSH|")
    assert b"MSA|AA|1\r" in answer.data
    assert stored(database) == [("1", "")]
    assert peers(database) == ["127.0.0.1 engine"]
    assert sender.post(adt("1")).data == answer.data  # the same bytes, and stored once
    assert stored(database) == [("1", "")]


def test_a_batch_is_answered_message_by_message(sender, database):
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + adt("1") + adt("2", version="9.9") + adt("3") + b"BTS|3\rFTS|1\r"
    answer = sender.post(batch)

    assert answer.status_code == 200
    assert [line[:8] for line in answer.data.split(b"\r") if line.startswith(b"MSA")] == [
        b"MSA|AA|1", b"MSA|AR|2", b"MSA|AA|3",
    ]  # fmt: skip
    assert [control_id for control_id, _ in stored(database)] == ["1", "3"]
    assert refusals(database) == ["version"]


def test_mllp_frames_in_the_body_are_tolerated(sender, database):
    assert b"MSA|AA|1" in sender.post(b"\x0b" + adt("1") + b"\x1c\r", content_type="text/plain").data
    assert stored(database) == [("1", "")]


def test_a_sender_that_wants_no_answer_gets_none(sender, database):
    answer = sender.post(adt("1", acks="NE|NE"))
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored(database) == [("1", "")]


def test_a_refused_message_is_answered_by_its_nak(sender, database):
    answer = sender.post(adt("1", version="9.9"))
    assert answer.status_code == 400
    assert b"MSA|AR|1" in answer.data
    assert stored(database) == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [(b"hello", ER7, 400), (b"  ", ER7, 400), (b"{}", "application/json", 415), (adt(), "multipart/form-data", 415),
     (b"x" * (4 * 1024 * 1024 + 1), ER7, 413)],
)  # fmt: skip
def test_what_is_no_message_is_refused_without_an_ack(sender, database, body, content_type, status):
    answer = sender.post(body, content_type=content_type)
    assert answer.status_code == status
    assert b"MSA" not in answer.data
    assert stored(database) == []


def test_only_a_token_with_the_scope_may_write(app, database, sender_named):
    assert Sender(app, "").post(adt()).status_code == 401
    assert Sender(app, "guessed").post(adt()).status_code == 401
    assert sender_named("reader", "fhir.read").post(adt()).status_code == 403
    assert stored(database) == []


def test_while_the_store_is_away_there_is_503_and_no_ack(sender, database, monkeypatch):
    def away(*_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(api, "store_now", away)
        for answer in (sender.post(adt()), sender.soap(f"<m><![CDATA[{adt().decode()}]]></m>")):
            assert answer.status_code == 503
            assert b"MSA" not in answer.data
    assert b"MSA|AA|7" in sender.post(adt()).data


def test_with_too_much_waiting_there_is_503_and_no_ack(sender, database, monkeypatch):
    monkeypatch.setattr(api, "is_full", lambda _: True)
    assert sender.post(adt()).status_code == 503
    assert stored(database) == []


# ── as whom a token may speak ───────────────────────────────────────────────


def test_a_token_speaks_for_its_own_source_and_no_other(sender_named, use_sources, database):
    use_sources(
        Source(code="his", title="HIS", sender="HIS", tokens=("his",)),
        Source(code="lis", title="LIS", sender="LIS", tokens=("lis",)),
        Source(code="pacs", title="PACS", sender="PACS", certificate_subjects=("CN=pacs",)),
    )
    his, other = sender_named("his"), sender_named("other")
    as_lis = adt("2").replace(b"|HIS|", b"|LIS|", 1)
    as_pacs = adt("3").replace(b"|HIS|", b"|PACS|", 1)
    as_anyone = adt("4").replace(b"|HIS|", b"|NEW|", 1)

    assert b"MSA|AA" in his.post(adt("1")).data
    for refused in (his.post(as_lis), his.post(as_anyone), other.post(adt("5")), other.post(as_pacs)):
        assert b"MSA|AR" in refused.data
    assert b"MSA|AA" in other.post(as_anyone).data
    assert [control_id for control_id, _ in stored(database)] == ["1", "4"]
    assert set(refusals(database)) == {"sender_token"}
    with database.main.connect() as connection:
        denied = connection.execute(
            sa.select(AuditEvent).where(AuditEvent.outcome == AuditOutcome.DENIED)
        ).all()
    assert {(row.action, row.detail["reason"]) for row in denied} == {("inbox.write", "sender_token")}
    assert {row.actor_name for row in denied} == {"his", "other"}


# ── SOAP ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [S11, S12])
@pytest.mark.parametrize("wrap", ["<m><![CDATA[{}]]></m>", "<a>x</a><deep><m>\n  {}</m></deep>"])
def test_hl7_in_an_envelope_is_stored_and_answered_in_one(sender, database, version, wrap):
    text = adt("1", body="PID|1||100||张^三&甲").decode()
    if "CDATA" not in wrap:
        text = text.replace("&", "&amp;").replace("\r", "&#13;")
    answer = sender.soap(wrap.format(text), version=version)

    assert answer.status_code == 200
    root = read_xml(answer.data)
    assert (root.name, root.namespace) == ("Envelope", version)
    (response,) = root.child("Body").children
    assert (response.name, response.namespace) == ("ReceiveResponse", "urn:bus")
    assert "\rMSA|AA|1\r" in response.child("return").text
    assert stored(database) == [("1", "")]
    with database.main.connect() as connection:
        raw = database.keys.open(connection.scalar(sa.select(InboxMessage.raw)))
    assert "张^三&甲" in raw.decode()


def test_the_bytes_stored_are_in_the_charset_the_message_declares(sender, database):
    text = adt("1", body="PID|1||100||张^三").decode().replace("UNICODE UTF-8", "GB 18030-2000")
    body = f'<?xml version="1.0" encoding="GBK"?>{envelope(f"<m><![CDATA[{text}]]></m>")}'.encode("gbk")
    answer = sender.post(body, "/hl7v2/soap", "text/xml")

    assert "MSA|AA|1" in read_xml(answer.data).child("Body").children[0].child("return").text
    with database.main.connect() as connection:
        raw = database.keys.open(connection.scalar(sa.select(InboxMessage.raw)))
    assert "张^三".encode("gb18030") in raw


def test_a_source_names_its_payload_and_its_answer(sender, use_sources, database):
    soap = {"payload": "message", "answer": "HIPMessageServerResult"}
    use_sources(Source.model_validate({"code": "bus", "title": "bus", "soap": soap}))
    other = adt("9").decode()
    payload = f"<note><![CDATA[{other}]]></note><message><![CDATA[{adt('1').decode()}]]></message>"
    answer = sender.soap(payload, "/hl7v2/soap/bus")

    assert "MSA|AA|1" in read_xml(answer.data).child("Body").children[0].child("HIPMessageServerResult").text
    assert stored(database) == [("1", "")]
    assert sender.soap(payload, "/hl7v2/soap/nobody").status_code == 404


def test_xml_that_is_no_hl7_becomes_a_row(sender, use_sources, database):
    rows = {"columns": {"patient_no": "Patient/Id", "name": "Patient/Name", "visit_no": "Visit/@no"}}
    use_sources(
        Source.model_validate({"code": "bus", "title": "bus", "soap": {"payload": "msg", "rows": rows}})
    )
    inner = '<Req><Patient><Id>100</Id><Name>张三</Name></Patient><Visit no="V1"/></Req>'
    for payload in (f"<msg>{inner}</msg>", f"<msg><![CDATA[<?xml version='1.0'?>{inner}]]></msg>"):
        answer = sender.soap(payload, "/hl7v2/soap/bus")
        assert answer.status_code == 200
    with database.main.connect() as connection:
        found = connection.execute(sa.select(InboxMessage)).all()
    assert {row.kind for row in found} == {"ROW^ADMIT"}
    assert all(b'"Visit/@no":"V1"' in database.keys.open(row.raw) for row in found)
    assert f"AA {found[-1].control_id}" in answer.text


@pytest.mark.parametrize("version", [S11, S12])
@pytest.mark.parametrize(
    "payload",
    ["", "<m>hello</m>", "<m>MSH</m>"],
)
def test_an_envelope_without_a_message_gets_a_fault_and_no_ack(sender, database, version, payload):
    answer = sender.soap(payload, version=version)
    assert answer.status_code in (400, 500)
    assert "Fault" in answer.text
    assert "MSA" not in answer.text
    assert stored(database) == []


BOMB = "<!DOCTYPE x [" + "".join(f'<!ENTITY e{n + 1} "&e{n};&e{n};">' for n in range(40)) + "]>"


@pytest.mark.parametrize(
    "body",
    [
        f"<!DOCTYPE x>{envelope('<m>MSH|1</m>')}".encode(),
        f'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>{envelope("<m>MSH|&f;</m>")}'.encode(),
        (BOMB + envelope("<m>MSH|&e40;</m>")).encode(),
        envelope("<a>" * 5_000 + "</a>" * 5_000).encode(),
        envelope("<a/>" * 50_000).encode(),
        envelope("<m>").encode(), b"<x/>", b"\xff\xfe\x00", b"not xml",
        b'<?xml version="1.0" encoding="no-such"?><x/>',
        envelope("<m><![CDATA[<!DOCTYPE x><a>1</a>]]></m>").encode(),
    ],
)  # fmt: skip
def test_hostile_xml_is_refused_unread(sender, use_sources, database, body):
    use_sources(
        Source.model_validate(
            {"code": "bus", "title": "b", "soap": {"payload": "m", "rows": {"columns": {"patient_no": "a"}}}}
        )
    )
    for path in ("/hl7v2/soap", "/hl7v2/soap/bus"):
        answer = sender.post(body, path, "text/xml")
        assert answer.status_code in (400, 500)
        assert "Fault" in answer.text
        assert "root:" not in answer.text
    assert stored(database) == []
    with pytest.raises(XmlRefused):
        read_xml(BOMB + "<x>&e40;</x>")


def test_an_envelope_speaks_for_its_source_only_with_the_sources_token(sender_named, use_sources, database):
    rows = {"columns": {"patient_no": "Id"}}
    use_sources(
        Source.model_validate(
            {"code": "bus", "title": "b", "tokens": ["bus"], "soap": {"payload": "m", "rows": rows}}
        )
    )
    payload = "<m><Id>1</Id></m>"
    answer = sender_named("other").soap(payload, "/hl7v2/soap/bus")
    assert answer.status_code == 403
    assert "Fault" in answer.text
    assert refusals(database) == ["sender_token"]
    assert sender_named("bus").soap(payload, "/hl7v2/soap/bus").status_code == 200


def test_an_envelope_that_returns_to_what_it_said_is_stored_again_and_a_retry_is_not(
    sender, database, use_sources
):
    rows = {"columns": {"patient_no": "no", "visit_no": "v", "phone": "p"}}
    use_sources(Source.model_validate({"code": "bus", "title": "bus", "soap": {"rows": rows}}))

    def tell(phone: str) -> str:
        answer = sender.soap(f"<no>100</no><v>V1</v><p>{phone}</p>", "/hl7v2/soap/bus")
        assert answer.status_code == 200
        return answer.text.partition("AA ")[2].partition("<")[0]

    told = [tell(phone) for phone in ("1", "1", "2", "2", "1", "1")]

    assert told[::2] == told[1::2]
    assert len(set(told)) == 3
    assert [control_id for control_id, _ in stored(database)] == told[::2]
    assert {flags for _, flags in stored(database)} == {""}
