"""Our MLLP client against receivers that behave, and that do not (assurance A3)."""

import contextlib
import random
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from adapters.his.answer import read_answer
from adapters.his.sender import MllpSender
from hcrm.inbox.outbound_records import NotSent, Verdict
from tests.support.outbound import destination, written
from tests.support.receivers import (
    Caller,
    NodeServer,
    PythonHl7Server,
    Receiver,
    accept,
    answering,
    control_id_of,
)


@pytest.fixture
def sending():
    """A client of a receiver, hung up at the end."""
    senders = []

    def make(receiver, **changes):
        senders.append(MllpSender(destination(receiver.port, **changes)))
        return senders[-1]

    yield make
    for sender in senders:
        sender.close()


def send(sender, control_id):
    return sender.send(written(destination(), control_id), control_id)


# ── peers written by others ─────────────────────────────────────────────────


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_python_hl7_receives_it_with_every_chinese_character(charset, sending):
    with PythonHl7Server(encoding=charset) as server:
        to = destination(server.port, charset=charset)
        sender = sending(server, charset=charset)
        replies = [sender.send(written(to, f"H{n}"), f"H{n}") for n in range(3)]
        sender.close()

    assert [(reply.verdict, reply.code) for reply in replies] == [(Verdict.ACCEPTED, "AA")] * 3
    assert [str(message["MSH.F10"]) for message in server.received] == ["H0", "H1", "H2"]
    assert server.received[0].extract_field("PID", 1, 5, 1, 1) == "欧阳\\建国|𠮷"
    assert [str(obx[5]) for obx in server.received[0].segments("OBX")][:3] == [
        "reached^已随访^99HCRM", "3", "38.6",
    ]  # fmt: skip


def test_a_node_server_receives_it(sending):
    """node-hl7-server answers a second message on one line as the first: seen, dropped and sent again on a new one."""
    with NodeServer() as server:
        sender = sending(server)
        for control_id in ("H1", "H2", "H3"):
            assert send(sender, control_id).verdict is Verdict.ACCEPTED
        sender.close()
        first = server.message()

    assert first["controlId"] == "H1"
    assert "阿司匹林" in first["text"]


@pytest.mark.parametrize(("code", "verdict"), [("AE", Verdict.ERROR), ("AR", Verdict.REJECTED)])
def test_a_node_server_refuses_it(code, verdict, sending):
    with NodeServer(code) as server:
        assert send(sending(server), "H1").verdict is verdict


# ── answers ─────────────────────────────────────────────────────────────────


def test_one_connection_serves_many_messages(sending):
    with Receiver() as receiver:
        sender = sending(receiver)
        for n in range(5):
            assert send(sender, f"H{n}").code == "AA"

        assert receiver.connections == 1
        sender.close()


@pytest.mark.parametrize(
    ("code", "err", "verdict", "detail"),
    [
        ("AE", "ERR||PID^1^3|101^Required field missing^HL70357|E||||张三\r", Verdict.ERROR, "101 PID-3"),
        ("AR", "ERR|MSH^1^12^203&Unsupported version id&HL70357\r", Verdict.REJECTED, "203 MSH-12"),
        ("CE", "ERR|张三^病历\r", Verdict.ERROR, ""),
        ("CR", "", Verdict.REJECTED, ""),
        ("CA", "", Verdict.ACCEPTED, ""),
        ("AE", "ERR||PID|207\r", Verdict.ERROR, "207 PID"),
    ],
)
def test_an_answer_is_read_with_its_code_and_place_and_no_value(code, err, verdict, detail, sending):
    with Receiver([answering(code, err)]) as receiver:
        reply = send(sending(receiver), "H1")

    assert (reply.verdict, reply.code, reply.detail) == (verdict, code, detail)


@pytest.mark.parametrize(
    "raw", [b"", b"MSH|^~\\&|A", b"PID|1", b"MSH|^~\\&|A\rMSA|XX|H1", b"MSH|^~\\&|A\rMSA|AA"]
)
def test_what_is_no_answer_is_none(raw):
    assert read_answer(raw) is None


def test_a_foreign_answer_is_not_taken_and_the_message_sent_again_on_a_new_line(sending):
    with Receiver([lambda caller, message: caller.answer(b"H0"), accept]) as receiver:
        reply = send(sending(receiver), "H1")

    assert reply.code == "AA"
    assert [control_id_of(message) for message in receiver.received] == [b"H1", b"H1"]
    assert receiver.received[0] == receiver.received[1]
    assert receiver.connections == 2


@pytest.mark.parametrize("foreign", [b"h1", b"H1 ", b"H10", b"", b"H1\x00"])
def test_only_the_control_id_byte_for_byte_counts(foreign, sending):
    script = [lambda caller, message: caller.answer(foreign)] * 2
    with Receiver(script) as receiver, pytest.raises(NotSent) as problem:
        send(sending(receiver), "H1")

    assert (problem.value.reason, problem.value.is_unreachable) == ("foreign_answer", False)


def test_a_late_answer_is_never_taken_for_the_next_message(sending):
    """The answer to H1 comes after its time-out, while H2 is on its way (A3)."""
    lines = []

    def keep_silent(caller, message):
        lines.append(caller)

    def answer_the_one_before(caller, message):
        with contextlib.suppress(OSError):
            lines[0].answer(b"H1", b"AA")
        caller.answer(control_id_of(message), b"AE")

    with Receiver([keep_silent, answer_the_one_before, answering("AE")]) as receiver:
        sender = sending(receiver, answer_seconds=0.3)
        with pytest.raises(NotSent) as problem:
            send(sender, "H1")
        assert problem.value.reason == "no_answer"
        assert send(sender, "H2").code == "AE"  # its own answer, not the AA of H1


def test_an_answer_given_twice_does_not_reach_the_next_message(sending):
    def twice(caller, message):
        accept(caller, message)
        accept(caller, message)

    with Receiver([twice, answering("AR")]) as receiver:
        sender = sending(receiver)
        assert send(sender, "H1").code == "AA"
        time.sleep(0.1)
        assert send(sender, "H2").code == "AR"  # its own answer


def test_whatever_comes_back_each_message_is_judged_by_its_own_answer_alone(sending):
    """Late, foreign, doubled and missing answers in any order: what is believed was said of that very message."""
    chance = random.Random(20261122)
    codes = {b"H%d" % n: chance.choice([b"AA", b"AE", b"AR"]) for n in range(25)}
    others = {b"AA": b"AR", b"AE": b"AA", b"AR": b"AA"}
    late: list[tuple[Caller, bytes]] = []

    def answer(caller: Caller, control_id: bytes) -> None:
        caller.answer(control_id, codes[control_id])

    def act(caller: Caller, message: bytes) -> None:
        control_id = control_id_of(message)
        for line, one in late:  # what was kept back comes now, on whatever line it belongs to
            with contextlib.suppress(OSError):
                answer(line, one)
        late.clear()
        match chance.randrange(6):
            case 0:
                caller.answer(chance.choice(list(codes)), others[codes[control_id]])
            case 1:
                late.append((caller, control_id))
            case 2:
                answer(caller, control_id)
                caller.answer(b"H%d" % chance.randrange(25), b"AA")
            case 3:
                caller.answer(control_id + b" ", others[codes[control_id]])
            case _:
                answer(caller, control_id)

    believed = {}
    with Receiver([act] * 1_000) as receiver:
        sender = sending(receiver, answer_seconds=0.1)
        for control_id in codes:
            for _ in range(20):
                with contextlib.suppress(NotSent):
                    believed[control_id] = send(sender, control_id.decode()).code.encode()
                    break

    assert believed == codes


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda caller, message: caller.line.close(), "closed"),
        (lambda caller, message: (caller.send(b"\x0bMSH|^~\\&|HIS"), caller.line.close()), "closed"),
        (lambda caller, message: caller.send(b"\x0bno answer at all\x1c\r"), "bad_answer"),
        (lambda caller, message: caller.send(b"HTTP/1.1 200 OK\r\n\r\n"), "no_answer"),
        (lambda caller, message: caller.send(b"x" * 100_000), "bad_answer"),
        (lambda caller, message: caller.send(b"\x0b" + b"x" * 100_000), "bad_answer"),
        (lambda caller, message: None, "no_answer"),
    ],
    ids=["closes", "closes in the middle", "nonsense", "web server", "junk", "endless", "silent"],
)
def test_without_an_answer_it_says_why_and_starts_anew(act, reason, sending):
    with Receiver([act]) as receiver:
        sender = sending(receiver, answer_seconds=0.5)
        with pytest.raises(NotSent) as problem:
            send(sender, "H1")

        assert (problem.value.reason, problem.value.is_unreachable) == (reason, False)
        assert send(sender, "H1").code == "AA"  # the next try has a line of its own


def test_a_receiver_that_hung_up_between_two_messages_costs_nothing(sending):
    def accept_and_close(caller, message):
        accept(caller, message)
        caller.line.close()

    with Receiver([accept_and_close] * 3) as receiver:
        sender = sending(receiver)
        for n in range(3):
            assert send(sender, f"H{n}").code == "AA"
            time.sleep(0.05)

        assert len(receiver.received) == 3


def test_an_answer_without_its_carriage_return_counts_after_a_moment(sending):
    def short(caller, message):
        caller.send(b"\x0bMSH|^~\\&|HIS\rMSA|AA|" + control_id_of(message) + b"\r\x1c")

    with Receiver([short]) as receiver:
        assert send(sending(receiver), "H1").code == "AA"


def test_an_answer_that_comes_byte_by_byte_has_one_time_out_for_all(sending):
    def drip(caller, message):
        for _ in range(100):
            caller.send(b"\x0b" if _ == 0 else b"x")
            time.sleep(0.1)

    with Receiver([drip]) as receiver:
        began = time.monotonic()
        with pytest.raises(NotSent):
            send(sending(receiver, answer_seconds=0.5), "H1")
        assert time.monotonic() - began < 6


def test_where_nobody_listens_nothing_left():
    with Receiver() as receiver:
        port = receiver.port
    with pytest.raises(NotSent) as problem:
        send(MllpSender(destination(port)), "H1")

    assert (problem.value.reason, problem.value.is_unreachable) == ("unreachable", True)


# ── TLS ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """A certificate authority, a server's and a client's certificate, by openssl."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes", "-days", "30")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA")
    for name in ("server", "client"):
        openssl("req", *new[:3], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text("subjectAltName=DNS:his.test,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "30", "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip
    return folder


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def tls(folder: Path, *, own: bool = True, **changes: str):
    files = {"certificate_file": folder / "client.pem", "key_file": folder / "client.key"} if own else {}
    return {"ca_file": folder / "ca.pem", **files, **changes}


def test_over_tls_with_a_client_certificate(certificates, sending):
    with Receiver(context=server_context(certificates)) as receiver:
        sender = sending(receiver, tls=tls(certificates))
        assert [send(sender, f"H{n}").code for n in range(3)] == ["AA"] * 3
        assert receiver.connections == 1


def test_a_receiver_with_another_name_gets_nothing(certificates, sending):
    with Receiver(context=server_context(certificates)) as receiver:
        with pytest.raises(NotSent) as problem:
            send(sending(receiver, tls=tls(certificates, server_name="other.test")), "H1")

        assert (problem.value.reason, problem.value.is_unreachable) == ("tls", True)
        assert receiver.received == []


def test_without_our_certificate_a_receiver_that_asks_for_it_takes_nothing(certificates, sending):
    with Receiver(context=server_context(certificates)) as receiver:
        with pytest.raises(NotSent):
            send(sending(receiver, tls=tls(certificates, own=False)), "H1")

        assert receiver.received == []
