"""Messages in the notation of the ADT truth table: its base message, changed by the table's short names.

`adt("A08", c=2, p=100, phone="138…", m="10:05")` is `A08#2 {p=100 phone=138… m=10:05}`. What is not named keeps the
base message's value, except the clocks: a message is sent when it says that something happened (`m` follows `o`),
and was entered when it was sent (`r` follows `m`). `ABSENT` leaves a field out, `NULL` sends two double quotes.
"""

from collections.abc import Sequence
from datetime import datetime

NULL = '""'
ABSENT = ""

DAY = "20261122"
_STRUCTURES = {
    "A01": "ADT_A01", "A02": "ADT_A02", "A03": "ADT_A03", "A04": "ADT_A01", "A05": "ADT_A05", "A06": "ADT_A06",
    "A07": "ADT_A06", "A08": "ADT_A01", "A11": "ADT_A09", "A12": "ADT_A12", "A13": "ADT_A01", "A17": "ADT_A17",
    "A18": "ADT_A18", "A21": "ADT_A21", "A22": "ADT_A21", "A23": "ADT_A21", "A24": "ADT_A24", "A28": "ADT_A05",
    "A29": "ADT_A21", "A30": "ADT_A30", "A31": "ADT_A05", "A34": "ADT_A30", "A35": "ADT_A30", "A37": "ADT_A37",
    "A38": "ADT_A38", "A40": "ADT_A39", "A42": "ADT_A39", "A44": "ADT_A43", "A45": "ADT_A45", "A47": "ADT_A30",
}  # fmt: skip
_WITHOUT_VISIT = (
    "A18", "A24", "A28", "A29", "A30", "A31", "A34", "A35", "A37", "A40", "A44", "A47",
)  # fmt: skip


def adt(
    event: str = "A01",
    *,
    c: int | str = 1,
    p: int | str = 100,
    v: str = "V1",
    name: str = "张^三",
    dob: str = "19900307",
    sex: str = "M",
    phone: str = "13912345678",
    ni: str = ABSENT,
    address: str = "中山路1号^^北京",
    cls: str = "I",
    loc: str = "W1^101^1",
    doctor: str = "D1^李",
    m: str = "",
    r: str = "",
    o: str = "",
    mrg: int | str = "",
    segments: Sequence[str] = (),
    charset: str = "UNICODE UTF-8",
    encoding: str = "utf-8",
    **fields: str,
) -> bytes:
    """One message; `fields` set any other field (`PID_30="Y"`, `PV1_36="20"`), `segments` come at the end."""
    sent = stamp(m) if m else stamp(o) if _is_later(o) else stamp("10:00")
    entered = stamp(r) if r else sent
    happened = stamp(o) if o else entered
    pid3 = f"{p}^^^H1^MR" if str(p).isdigit() else str(p)
    if ni:
        pid3 += f"~{ni}^^^PRC^NI"
    lines = {
        "MSH": ["MSH", "^~\\&", "HIS", "H1", "HCRM", "H1", sent, "", f"ADT^{event}^{_STRUCTURES[event]}", str(c),
                "P", "2.5.1", "", "", "AL", "NE", "", charset],
        "EVN": ["EVN", "", entered, "", "", "", happened],
        "PID": ["PID", "1", "", pid3, "", name, "", dob, sex, "", "", address, "", phone],
        "PV1": ["PV1", "1", cls, loc, "", "", "", doctor, *[""] * 11, v],
    }  # fmt: skip
    if event in _WITHOUT_VISIT:
        del lines["PV1"]
    for place, value in fields.items():
        segment, _, number = place.partition("_")
        _put(lines[segment], int(number), value)
    built = ["|".join(line) for line in lines.values()]
    if mrg:
        built.append(f"MRG|{mrg}^^^H1^MR" if str(mrg).isdigit() else f"MRG|{mrg}")
    return ("\r".join([*built, *segments]) + "\r").encode(encoding)


def stamp(text: str) -> str:
    """`12:30` is that time of the table's day at +0800; anything longer is taken as written."""
    return f"{DAY}{text.replace(':', '')}00+0800" if len(text) == 5 else text


def moment(text: str) -> datetime:
    """The same as a datetime."""
    return datetime.strptime(stamp(text), "%Y%m%d%H%M%S%z")


def _is_later(o: str) -> bool:
    return len(o) == 5 and o > "10:00"


def _put(line: list[str], number: int, value: str) -> None:
    index = number - 1 if line[0] == "MSH" else number
    line.extend([""] * (index + 1 - len(line)))
    line[index] = value


def renumbered(raw: bytes, control_id: str) -> bytes:
    """The same message under another MSH-10, as a HIS resends it."""
    mark = raw[3:4]
    head, end, rest = raw.partition(b"\r")
    fields = head.split(mark)
    fields[9] = control_id.encode()
    return mark.join(fields) + end + rest
