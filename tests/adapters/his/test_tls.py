"""MLLP over TLS: who may connect, and as whom a peer may speak (A10, C10, C11)."""

import socket
import ssl
import time

import pytest
import sqlalchemy as sa

from adapters.his.connection import MllpLimits
from adapters.his.mllp import Tls
from adapters.his.tls import server_context
from hcrm.app.role_listener import AuditAlerts
from hcrm.audit.models import AuditEvent, AuditOutcome
from hcrm.core.errors import HcrmError
from hcrm.core.settings import Mllp
from hcrm.core.sources import Source
from hcrm.inbox.models import RefusedMessage
from tests.support.certificates import Authority, client_context
from tests.support.listener import (
    PATIENCE,
    Peer,
    RunningListener,
    adt,
    default_sources,
    eventually,
    refusals,
    stored,
)

HIS = Source(code="his", title="HIS", sender="HIS", facility="H1", certificate_subjects=("CN=his.example",))
LIS = Source(code="lis", title="LIS", sender="LIS", certificate_subjects=("CN=lab.example,O=H1",))


class TlsPeer(Peer):
    """A sender over TLS."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(address)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificates(authority):
    return {
        name: authority.sign(subject, expired=name == "expired")
        for name, subject in {
            "server": "/CN=localhost", "his": "/O=H1/CN=his.example", "lab": "/O=H1/CN=lab.example",
            "expired": "/CN=old.example",
        }.items()
    }  # fmt: skip


@pytest.fixture
def listen_tls(database, clock, authority, certificates):
    """A TLS listener that asks for client certificates, with its alerts in audit; keywords are limits."""
    running = []
    alerts = AuditAlerts(database, clock)

    def start(*sources, tls_beside_plain=False, required="required", **allowed):
        server = certificates["server"]
        context = server_context(server.certificate, server.key, authority.certificate, required)
        listener = RunningListener(
            database, default_sources(*sources), clock, MllpLimits(**allowed),
            tls=Tls(context, ("127.0.0.1", 0) if tls_beside_plain else None),
            on_alert=alerts,
        )  # fmt: skip
        running.append(listener.__enter__())
        return listener

    yield start
    for listener in running:
        listener.stop()
    alerts.close()


def denials(database) -> list[tuple[str, str]]:
    with database.main.connect() as connection:
        query = sa.select(AuditEvent.detail, AuditEvent.address).where(
            AuditEvent.action == "mllp.connect", AuditEvent.outcome == AuditOutcome.DENIED
        )
        return sorted((row.detail["reason"], row.address) for row in connection.execute(query))


def kept(database) -> list[sa.Row]:
    """What is kept of what was refused."""
    with database.main.connect() as connection:
        return list(connection.execute(sa.select(RefusedMessage.__table__).order_by(RefusedMessage.seq)))


def is_turned_away(listener, context: ssl.SSLContext) -> bool:
    """Whether the peer gets nowhere: with TLS 1.3 it hears of it at its first read."""
    try:
        with TlsPeer(listener.server.tls_address, context) as peer:
            peer.frame(adt())
            return peer.is_closed()
    except (ssl.SSLError, ConnectionError):
        return True


# ── who may connect ─────────────────────────────────────────────────────────


def test_a_message_over_tls_is_stored_and_answered(listen_tls, database, authority, certificates):
    listener = listen_tls(HIS, LIS)
    with TlsPeer(listener.server.address, client_context(authority, certificates["his"])) as peer:
        assert peer.socket.version() in ("TLSv1.2", "TLSv1.3")
        assert b"MSA|AA|1" in peer.ask(adt("1"))
        peer.send(b"".join(b"\x0b" + adt(str(n)) + b"\x1c\r" for n in range(2, 40)))
        assert all(f"MSA|AA|{n}\r".encode() in peer.answer() for n in range(2, 40))
        assert b"MSA|AA|40" in peer.ask(adt("40", body="OBX|1|TX|||" + "x" * 1_000_000))
    assert len(stored(database)) == 40
    assert denials(database) == []
    eventually(lambda: len(listener.server.connections), 0)
    assert not listener.server._per_address


@pytest.mark.parametrize("shown", ["none", "expired", "foreign"])
def test_a_peer_without_a_certificate_we_trust_is_refused_in_the_handshake_and_noted_once(
    listen_tls, database, authority, certificates, tmp_path, shown
):
    listener = listen_tls(HIS)
    own = {
        "none": lambda: None,
        "expired": lambda: certificates["expired"],
        "foreign": lambda: Authority(tmp_path / "other").sign("/O=H1/CN=his.example"),
    }[shown]()
    for _ in range(3):
        assert is_turned_away(listener, client_context(authority, own))

    eventually(lambda: denials(database), [("tls_handshake", "127.0.0.1")])
    eventually(lambda: refusals(database), ["tls_handshake"])
    (row,) = kept(database)
    assert row.detail == {"none": "no_certificate", "expired": "expired", "foreign": "unknown_ca"}[shown]
    assert (row.door, row.peer_port is not None) == (f"mllps {listener.server.address[1]}", True)
    assert stored(database) == []
    with TlsPeer(listener.server.address, client_context(authority, certificates["his"])) as peer:
        assert b"MSA|AA|7" in peer.ask(adt())


def test_tls_before_1_2_is_refused(listen_tls, authority, certificates):
    listener = listen_tls(HIS)
    old = client_context(authority, certificates["his"])
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises((ssl.SSLError, ConnectionError)):
        TlsPeer(listener.server.address, old)


def test_who_speaks_plainly_to_the_tls_port_gets_nothing_stored(listen_tls, database):
    listener = listen_tls(HIS)
    with listener.connect() as peer:
        peer.frame(adt())
        assert peer.is_closed()
    eventually(lambda: [row.detail for row in kept(database)], ["not_tls"])
    assert stored(database) == []


def test_a_refusal_says_whose_certificate_spoke_as_whom_and_from_where(
    listen_tls, database, authority, certificates
):
    listener = listen_tls(HIS, LIS, tls_beside_plain=True)
    lab = client_context(authority, certificates["lab"])
    with TlsPeer(listener.server.tls_address, lab) as peer:
        assert b"MSA|AR|1" in peer.ask(adt("1"))
        port = peer.socket.getsockname()[1]
        assert b"MSA|AR|2" in peer.ask(adt("2").replace(b"|HIS|H1|", b"|XYZ|H9|", 1))
    with listener.connect() as plain:
        assert b"MSA|AR|3" in plain.ask(adt("3"))

    bound, other, bare = kept(database)
    assert (bound.sender, bound.facility, bound.control_id, bound.source) == ("HIS", "H1", "1", "his")
    assert (bound.detail, bound.subject, bound.peer_port) == (
        "subject_not_bound",
        "CN=lab.example,O=H1",
        port,
    )
    assert (other.detail, other.sender, other.source) == ("subject_of_other", "XYZ", "default")
    assert (bare.detail, bare.subject) == ("no_certificate", None)
    assert bare.door == f"mllp {listener.server.address[1]}"


def test_a_handshake_that_does_not_come_is_given_up_and_holds_no_place(listen_tls, authority, certificates):
    listener = listen_tls(HIS, handshake_seconds=0.5, connections_per_address=2)
    silent = [socket.create_connection(listener.server.address, PATIENCE) for _ in range(2)]
    assert is_turned_away(listener, client_context(authority, certificates["his"]))  # both places are taken
    for one in silent:
        assert one.recv(1) == b""
        one.close()

    eventually(lambda: listener.server.shaking, 0)
    with TlsPeer(listener.server.address, client_context(authority, certificates["his"])) as peer:
        assert b"MSA|AA|7" in peer.ask(adt())


def test_a_port_check_that_hangs_up_is_no_alarm_and_bars_nobody(
    listen_tls, database, authority, certificates, monkeypatch
):
    monkeypatch.setattr("adapters.his.tls.limits.HANDSHAKE_FAILURES", 3)
    listener = listen_tls(HIS)
    for _ in range(6):
        socket.create_connection(listener.server.address, PATIENCE).close()
    eventually(lambda: listener.server.counts["handshakes_failed"], 6)
    with TlsPeer(listener.server.address, client_context(authority, certificates["his"])) as peer:
        assert b"MSA|AA|7" in peer.ask(adt())
    assert refusals(database) == []


def test_an_address_that_fails_again_and_again_costs_no_more_handshakes(
    listen_tls, database, authority, certificates, monkeypatch
):
    monkeypatch.setattr("adapters.his.tls.limits.HANDSHAKE_FAILURES", 3)
    listener = listen_tls(HIS)
    for _ in range(5):
        assert is_turned_away(listener, client_context(authority))
    assert is_turned_away(listener, client_context(authority, certificates["his"]))
    assert listener.server.counts["handshakes_failed"] == 3
    listener.call(listener.server._door.forgive, time.monotonic() + 61)
    eventually(lambda: dict(listener.server._door._failures), {})
    with TlsPeer(listener.server.address, client_context(authority, certificates["his"])) as peer:
        assert b"MSA|AA|7" in peer.ask(adt())


@pytest.mark.parametrize("over_tls", [True, False])
def test_an_address_off_the_list_is_closed_unread_with_one_row_a_minute(
    listen_tls, database, authority, certificates, over_tls
):
    allow = Mllp(allow=("10.1.0.0/16", "::1")).networks
    listener = listen_tls(HIS, networks=allow, tls_beside_plain=True)
    for _ in range(5):
        if over_tls:
            assert is_turned_away(listener, client_context(authority, certificates["his"]))
        else:
            with listener.connect() as peer:
                assert peer.is_closed()

    eventually(lambda: denials(database), [("address_not_allowed", "127.0.0.1")])
    eventually(lambda: refusals(database), ["address_not_allowed"])
    assert listener.server.counts["handshakes_failed"] == 0


def test_an_address_on_the_list_comes_in(listen_tls, authority, certificates):
    listener = listen_tls(HIS, networks=Mllp(allow=("127.0.0.0/8",)).networks)
    with TlsPeer(listener.server.address, client_context(authority, certificates["his"])) as peer:
        assert b"MSA|AA|7" in peer.ask(adt())


def test_a_peer_over_tls_that_never_reads_is_left_and_others_go_on(listen_tls, authority, certificates):
    listener = listen_tls(HIS, write_seconds=1)
    context = client_context(authority, certificates["his"])
    with (
        TlsPeer(listener.server.address, context) as deaf,
        TlsPeer(listener.server.address, context) as other,
    ):
        deaf.socket.settimeout(0.2)
        frame = b"\x0b" + adt(body="x").replace(b"|HCRM|", b"|" + b"H" * 4000 + b"|", 1) + b"\x1c\r"
        deadline = time.monotonic() + 2 * PATIENCE
        while listener.server.counts["closed_unread"] == 0 and time.monotonic() < deadline:
            try:
                deaf.send(frame * 20)
            except TimeoutError:
                assert b"MSA|AA|8" in other.ask(adt("8"))
            except OSError:
                break
        eventually(lambda: listener.server.counts["closed_unread"], 1)


def test_plain_and_tls_stand_side_by_side(listen_tls, database, authority, certificates):
    listener = listen_tls(tls_beside_plain=True)
    with listener.connect() as plain:
        assert b"MSA|AA|1" in plain.ask(adt("1"))
    with TlsPeer(listener.server.tls_address, client_context(authority, certificates["his"])) as peer:
        assert b"MSA|AA|2" in peer.ask(adt("2"))
    assert stored(database) == [("1", ""), ("2", "")]


# ── as whom a peer may speak ────────────────────────────────────────────────


def test_the_laboratorys_certificate_does_not_speak_as_the_his(listen_tls, database, authority, certificates):
    listener = listen_tls(HIS, LIS)
    with TlsPeer(listener.server.address, client_context(authority, certificates["lab"])) as peer:
        answer = peer.ask(adt("1"))
        assert b"MSA|AR|1" in answer
        assert b"ERR||MSH^1^3|204^" in answer
        assert b"MSA|AR|2" in peer.ask(adt("2"))
        assert b"MSA|AA|3" in peer.ask(adt("3").replace(b"|HIS|H1|", b"|LIS|H1|", 1))

    eventually(lambda: denials(database), [("sender_certificate", "127.0.0.1")])  # one alert a minute
    eventually(lambda: refusals(database), ["sender_certificate"] * 2)
    assert stored(database) == [("3", "")]


def test_a_bound_certificate_speaks_for_no_unknown_sender_either(
    listen_tls, database, authority, certificates
):
    listener = listen_tls(HIS)
    with TlsPeer(listener.server.address, client_context(authority, certificates["his"])) as peer:
        assert b"MSA|AR|1" in peer.ask(adt("1").replace(b"|HIS|H1|", b"|OTHER|H1|", 1))
    with TlsPeer(listener.server.address, client_context(authority, certificates["lab"])) as peer:
        assert b"MSA|AA|2" in peer.ask(adt("2").replace(b"|HIS|H1|", b"|OTHER|H1|", 1))
    assert stored(database) == [("2", "")]


def test_a_source_that_names_certificates_is_not_spoken_for_on_the_plain_port(listen_tls, database):
    listener = listen_tls(HIS, tls_beside_plain=True)
    with listener.connect() as plain:
        assert b"MSA|AR|1" in plain.ask(adt("1"))
    eventually(lambda: denials(database), [("sender_certificate", "127.0.0.1")])


def test_a_source_is_heard_from_its_own_addresses_only(listen_tls, database):
    far = Source(code="far", title="far", sender="HIS", addresses=("10.1.0.0/16",))
    near = Source(code="near", title="near", sender="LIS", addresses=("127.0.0.0/8",))
    listener = listen_tls(far, near, tls_beside_plain=True)
    with listener.connect() as plain:
        assert b"MSA|AR|1" in plain.ask(adt("1"))
        assert b"MSA|AA|2" in plain.ask(adt("2").replace(b"|HIS|", b"|LIS|", 1))
    eventually(lambda: denials(database), [("sender_address", "127.0.0.1")])
    eventually(lambda: refusals(database), ["sender_address"])


def test_every_message_of_a_batch_is_asked_for_its_sender(listen_tls, database, authority, certificates):
    listener = listen_tls(HIS, LIS)
    foreign, own = adt("1"), adt("2").replace(b"|HIS|H1|", b"|LIS|H1|", 1)
    with TlsPeer(listener.server.address, client_context(authority, certificates["lab"])) as peer:
        peer.frame(b"BHS|^~\\&\r" + foreign + own + b"BTS|2\r")
        assert b"MSA|AR|1" in peer.answer()
        assert b"MSA|AA|2" in peer.answer()
    assert stored(database) == [("2", "")]


# ── settings ────────────────────────────────────────────────────────────────


def test_certificates_that_cannot_be_used_are_told_in_one_line(tmp_path, authority, certificates):
    server, other = certificates["server"], certificates["his"]
    for arguments in (
        (tmp_path / "none.crt", server.key, None, "none"),
        (server.certificate, other.key, None, "none"),
        (server.certificate, server.key, tmp_path / "none.crt", "none"),
        (server.certificate, server.key, None, "required"),
    ):
        with pytest.raises(HcrmError, match=r"TLS|mllp\.tls_ca"):
            server_context(*arguments)


@pytest.mark.parametrize(
    "wrong",
    [{"tls_cert": "a"}, {"tls_ca": "a"}, {"client_certificates": "required"}, {"allow": ["10.1"]},
     {"tls_cert": "a", "tls_key": "b", "client_certificates": "required"}],
)  # fmt: skip
def test_settings_that_would_leave_the_port_open_by_mistake_are_refused(wrong):
    with pytest.raises(ValueError, match=r"tls_|TLS|10\.1"):
        Mllp(**wrong)
