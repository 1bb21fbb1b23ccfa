"""Hospital systems that send one message after the other, whatever becomes of their connection."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from tests.support.adt import adt
from tests.support.listener import Peer

CLIENTS = 8
START = datetime(2026, 11, 22, 0, tzinfo=UTC)


class Client(threading.Thread):
    """A HIS: one message after the other, a lost connection opened again, what was not answered sent again."""

    def __init__(self, name: int, port: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.name, self.number, self.port = f"client-{name}", name, port
        self.acknowledged: list[str] = []
        self.problem: BaseException | None = None
        self._peer: Peer | None = None
        self._is_over = threading.Event()

    def run(self) -> None:
        try:
            for control_id, raw in stays(self.number):
                if not self._deliver(control_id, raw):
                    return
        except BaseException as error:  # noqa: BLE001  raised where the test waits for us
            self.problem = error
        finally:
            self._hang_up()

    def stop(self) -> None:
        self._is_over.set()
        self.join(60)
        if self.problem:
            raise self.problem

    def _deliver(self, control_id: str, raw: bytes) -> bool:
        while not self._is_over.is_set():
            try:
                if self._peer is None:
                    self._peer = Peer(("127.0.0.1", self.port()))
                ack = self._peer.ask(raw)
            except (EOFError, OSError):
                self._hang_up()
                time.sleep(0.01)
                continue
            assert f"MSA|CA|{control_id}\r".encode() in ack, ack
            self.acknowledged.append(control_id)
            self._is_over.wait(0.1)  # the proof is in the kills, not in the number of messages
            return True
        return False

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None


def stays(client: int) -> Iterator[tuple[str, bytes]]:
    """Patient after patient: admitted, moved, discharged, the discharge withdrawn, discharged again; some merged."""
    for number in range(100_000):
        patient = client * 100_000 + number
        for n, event in enumerate(("A01", "A02", "A03", "A13", "A03")):
            at = START + timedelta(minutes=n)
            control_id = f"{patient}-{n}"
            yield (
                control_id,
                adt(
                    event,
                    c=control_id,
                    p=patient,
                    v=f"V{patient}",
                    loc=f"W{n}^1^1",
                    m=f"{at:%Y%m%d%H%M%S}+0000",
                ),
            )
        if number == 9:  # one a client: twenty an hour are a flood (C23)
            at = START + timedelta(minutes=9)
            control_id = f"{patient}-merge"
            yield (
                control_id,
                adt("A40", c=control_id, p=patient, mrg=patient - 1, m=f"{at:%Y%m%d%H%M%S}+0000"),
            )
