"""Clinical, booking and staff messages as the tests write them: a head, the patient, the visit, then what they tell."""

from collections.abc import Sequence

from tests.support.adt import stamp


def clinical(
    kind: str,
    *segments: str,
    c: int | str = 50,
    p: int | str = 100,
    v: str | None = "V1",
    m: str = "11:00",
    name: str = "张^三",
    extra: Sequence[str] = (),
    encoding: str = "utf-8",
) -> bytes:
    """One message of that kind (`ORU^R01`); `v` None leaves PV1 out, an empty one sends PV1 without a number."""
    sent = stamp(m)
    lines = [
        f"MSH|^~\\&|HIS|H1|HCRM|H1|{sent}||{kind}|{c}|P|2.5.1|||AL|NE||UNICODE UTF-8",
        f"PID|1||{p}^^^H1^MR||{name}||19900307|M",
    ]
    if v is not None:
        lines.append("|".join(["PV1", "1", "I", "LAB^9^9", "", "", "", "D9^检验", *[""] * 11, v]))
    return ("\r".join([*lines, *segments, *extra]) + "\r").encode(encoding)


def obr(
    number: str = "F1", code: str = "CBC^血常规", status: str = "F", at: str = "10:40", section: str = "LAB"
) -> str:
    """An order with filler number, code and state."""
    fields = ["OBR", "1", "", number, code, "", "", stamp(at), *[""] * 14, stamp(at), "", section, status]
    return "|".join(fields)


def obx(
    rank: int = 1,
    code: str = "WBC^白细胞",
    value: str = "6.3",
    flag: str = "",
    *,
    kind: str = "NM",
    unit: str = "10^9/L",
    reference: str = "3.5-9.5",
    status: str = "F",
    part: str = "",
) -> str:
    """One result."""
    unit = unit.replace("^", "\\S\\")
    return f"OBX|{rank}|{kind}|{code}|{part}|{value}|{unit}|{reference}|{flag}|||{status}"


def staff(*segments: str, c: int | str = 70, m: str = "09:00") -> bytes:
    """A staff list."""
    head = f"MSH|^~\\&|HR|H1|HCRM|H1|{stamp(m)}||MFN^M02|{c}|P|2.5.1|||AL|NE||UNICODE UTF-8"
    return ("\r".join([head, "MFI|STF||UPD|||AL", *segments]) + "\r").encode()
