"""Two hundred senders of a byte a second, limits as shipped, and one who wants his answers (A7, C2)."""

import threading
import time

from tests.support.listener import PATIENCE, Listen, Peer, adt, stored

SLOW = 199  # with the honest one: CONNECTIONS_TOTAL
FROM_ONE_ADDRESS = 8
MESSAGES = 100
P99 = 5.0  # seconds; the aim is 0.1, printed by `make bench`


def test_slow_senders_leave_an_honest_one_s_answers_alone(listen: Listen, database):
    address = listen().server.address
    slow = [Peer(address, source=f"127.0.1.{1 + n // FROM_ONE_ADDRESS}") for n in range(SLOW)]
    is_over = threading.Event()

    def drip() -> None:
        for byte in b"\x0b" + adt("slow", body="x" * 1000):
            for peer in slow:
                peer.send(bytes([byte]))
            if is_over.wait(1):
                return

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    waits = []
    with Peer(address) as honest:
        for number in range(MESSAGES):
            began = time.monotonic()
            assert f"MSA|AA|{number}\r".encode() in honest.ask(adt(str(number)))
            waits.append(time.monotonic() - began)
            time.sleep(0.02)
    is_over.set()
    dripping.join(PATIENCE)
    for peer in slow:
        peer.close()

    assert sorted(waits)[-1 - MESSAGES // 100] < P99
    assert [control_id for control_id, _ in stored(database)] == [str(n) for n in range(MESSAGES)]
