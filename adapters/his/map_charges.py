"""DFT^P03 to charges (HL7 2.9 section 6.5.1): FT1 lines, or totals by cost class where the source sends those. Pure."""

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

from adapters.his.clinical_reading import Reading, coded, fingerprint
from adapters.hl7v2 import Segment
from hcrm.archive.clinical.records import ChargeRecord, ClinicalRecord
from hcrm.archive.clinical.terms import ChargeKind
from hcrm.archive.records import Unmapped

_KINDS = {
    "CG": ChargeKind.CHARGE, "CD": ChargeKind.CREDIT, "CR": ChargeKind.CREDIT, "PY": ChargeKind.PAYMENT,
    "AJ": ChargeKind.ADJUSTMENT,
}  # fmt: skip
"""FT1-6, HL7 table 0017."""


def map_charges(reading: Reading) -> ClinicalRecord | Unmapped:
    """Every FT1 is a row; one without a number of its own (FT1-2) is known by what it says."""
    lines = reading.message.segments("FT1")
    if not lines:
        return Unmapped("no_charge", "FT1")
    seen: Counter[str] = Counter()
    return ClinicalRecord(charges=tuple(_charge(line, reading, seen) for line in lines))


def _charge(ft1: Segment, reading: Reading, seen: Counter[str]) -> ChargeRecord:
    source = reading.source
    code, text = coded(ft1, 7)
    kind = _KINDS.get(ft1.text(6).upper(), ChargeKind.CHARGE)
    quantity = reading.number(ft1.text(10), "FT1-10")
    amount = _amount(ft1, reading, quantity)
    if kind is ChargeKind.CREDIT and amount is not None:
        amount = -abs(amount)
    sent = ft1.text(*_place(source.cost_class_from)) if source.cost_class_from else ""
    cost_class = sent or (code if source.charge_totals else "")
    if source.charge_totals:
        number = f"{_stay(reading)}/{kind.value}/{cost_class}"
    elif ft1.text(2):
        number = ft1.text(2)
    else:
        number = fingerprint(
            _stay(reading), ft1.text(4), kind.value, code, ft1.text(10), ft1.raw(11), ft1.raw(12)
        )
    seen[number] += 1
    return ChargeRecord(
        number=number if seen[number] == 1 else f"{number}#{seen[number]}",
        kind=kind,
        code=code,
        text=text or ft1.text(8),
        cost_class=_cost_class(cost_class, text if source.charge_totals and not sent else cost_class, reading),
        is_total=source.charge_totals,
        quantity=quantity,
        amount_fen=amount,
        charged_at=reading.at(ft1, 4),
    )  # fmt: skip


def _cost_class(code: str, otherwise: str, reading: Reading) -> str:
    """The class by the source's table, else as sent; a code that is no Chinese name waits to be mapped."""
    mapped = reading.source.cost_classes.get(code)
    if mapped is None and code and (reading.source.cost_classes or code.isascii()):
        reading.flags.sight("cost_class", code)
    return otherwise if mapped is None else mapped


def _amount(ft1: Segment, reading: Reading, quantity: Decimal | None) -> int | None:
    """分 of FT1-11, else of FT1-12 times FT1-10."""
    whole = reading.number(ft1.text(11), "FT1-11")
    if whole is None:
        unit = reading.number(ft1.text(12), "FT1-12")
        if unit is None:
            return None
        whole = unit * (1 if quantity is None else quantity)
    fen = int((whole * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return fen if abs(fen) < 10**16 else None


def _stay(reading: Reading) -> str:
    return next(
        (text for place in reading.source.visit_number_from if (text := reading.message.at(place))), ""
    )


def _place(path: str) -> tuple[int, int]:
    """`FT1-8.2` as field and component."""
    field, _, component = path.partition("-")[2].partition(".")
    return int(field), int(component or 1)
