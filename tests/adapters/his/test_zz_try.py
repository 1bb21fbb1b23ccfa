from tests.support.adt import adt
from tests.support.hospital import Hospital


def test_x(database, clock):
    clock.move(hours=13)
    with Hospital(database, clock) as h:
        print(h.receive(adt("A01", o="10:00")))
        print(h.patient(100).name, h.phones(100), h.visit("V1").status, h.visit("V1").admitted_at)
        h.receive(adt("A03", c=3, o="12:00"))
        print(h.instructions("V1"))
        h.assert_repeats_change_nothing()
