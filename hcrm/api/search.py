"""FHIR search: parameters, their values, and pages by key. Flask-free, so that a `fhir.py` of any part may use it.

What a type does not support is refused (400), never ignored: a filter dropped in silence answers another question,
with other patients (F4, C27).
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag

from hcrm.api.bundle import PAGE_KEY, page_size
from hcrm.api.elements import Json
from hcrm.core import clock, limits
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.work import Work

Condition = sa.ColumnElement[bool]
Kind = Literal["token", "reference", "date", "string"]
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""A resource id (R4B, datatypes, id)."""
_FORMATS = frozenset({"json", "application/json", "application/fhir+json", "application/fhir json"})
_REFERENCE = re.compile(r"(?:(?:https?://[^?#]*/)?([A-Z][A-Za-z]+)/)?([A-Za-z0-9\-.]{1,64})")
_MOMENT = re.compile(
    r"(?P<prefix>[a-z]{2})?(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d{1,9}))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


def refused(text: str) -> HcrmError:
    """A search that is not understood; the sentence repeats no value."""
    return HcrmError("fhir.search", text, status=400)


# ── values ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Token:
    """`code`, `|code`, `system|` or `system|code`: None where nothing was said, empty where that was said."""

    system: str | None
    code: str

    def fits(self, system: str) -> bool:
        """Whether the token may mean a code of that system."""
        return self.system is None or self.system == system


@dataclass(frozen=True, slots=True)
class DateRange:
    """A date as searched for: its prefix and the stretch of time it means, `low` to just before `high`."""

    prefix: str
    low: datetime
    high: datetime
    has_time: bool

    @property
    def days(self) -> tuple[date, date]:
        """First day and the day after the last, where the value is not finer than a day."""
        if self.has_time:
            raise refused("此参数只接受日期，不接受时刻")
        return clock.local_date(self.low), clock.local_date(self.high)


def split_unescaped(text: str, mark: str) -> list[str]:
    r"""The parts between marks; a mark after a backslash is text (R4B, search, 3.1.1.4.0.1). Backslashes stay."""
    parts, part, escaped = [], "", False
    for character in text:
        if character == mark and not escaped:
            parts.append(part)
            part = ""
            continue
        escaped = character == "\\" and not escaped
        part += character
    return [*parts, part]


def unescape(text: str) -> str:
    r"""`\,`, `\|`, `\$` and `\\` as the characters they stand for."""
    return re.sub(r"\\([,|$\\])", r"\1", text)


def read_token(text: str) -> Token:
    """The token of a value."""
    parts = split_unescaped(text, "|")
    if len(parts) > 2:
        raise refused("标识写作 system|value")
    system = unescape(parts[0]) if len(parts) == 2 else None
    return Token(system, unescape(parts[-1]).strip())


def read_number(text: str) -> Token:
    """The token of an identifier; every number of a system would be everybody."""
    token = read_token(text)
    if not token.code:
        raise refused("标识应写明号码：system|value 或 value")
    return token


def read_code(text: str, *, system: str, codes: Iterable[str]) -> str | None:
    """The code of a required value set; None where the token names another system. A word outside it is refused."""
    token = read_token(text)
    if token.code not in codes:
        raise refused("状态只能是 " + "、".join(codes))
    return token.code if token.fits(system) else None


def read_reference(text: str, kind: str) -> str | None:
    """The id in `Type/id`, `id` or an address that ends so; None where it is another type's."""
    match = _REFERENCE.fullmatch(unescape(text).strip())
    if match is None:
        raise refused(f"引用写作 {kind}/id")
    return match[2] if match[1] in (None, kind) else None


def read_dates(text: str) -> DateRange:
    """A date or moment of any precision with its prefix; without a zone it is the hospital's."""
    # A client that does not encode the plus of +08:00 sends a blank.
    match = _MOMENT.fullmatch(unescape(text).strip().replace(" ", "+"))
    try:
        if match is None:
            raise ValueError("not a date")
        low, high = _bounds(match)
    except (ValueError, OverflowError) as error:
        raise refused("日期写作 2026-11-22 或 2026-11-22T10:00:00+08:00，前面可加 ge、lt 等前缀") from error
    prefix = match["prefix"] or "eq"
    if prefix not in ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb"):
        raise refused("日期前缀只支持 eq、ne、gt、ge、lt、le、sa、eb")
    return DateRange(prefix, low, high, match["hour"] is not None)


def _bounds(match: re.Match[str]) -> tuple[datetime, datetime]:
    zone = match["zone"]
    start = datetime(
        int(match["year"]), int(match["month"] or 1), int(match["day"] or 1), int(match["hour"] or 0),
        int(match["minute"] or 0), int(match["second"] or 0), int((match["fraction"] or "")[:6].ljust(6, "0")),
        tzinfo=datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").tzinfo if zone else clock.HOSPITAL_ZONE,
    )  # fmt: skip
    if match["month"] is None:
        end = start.replace(year=start.year + 1)
    elif match["day"] is None:
        end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    elif match["fraction"]:
        end = start + timedelta(seconds=10.0 ** -min(len(match["fraction"]), 6))
    else:
        unit = "days" if match["hour"] is None else "minutes" if match["second"] is None else "seconds"
        end = start + timedelta(**{unit: 1})
    return start.astimezone(UTC), end.astimezone(UTC)


def compare(column: Any, prefix: str, low: Any, high: Any) -> Condition:
    """A column of points in time against `low` to just before `high`."""
    inside = sa.and_(column >= low, column < high)
    conditions: dict[str, Condition] = {
        "eq": inside, "ne": sa.not_(inside), "gt": column >= high, "sa": column >= high, "ge": column >= low,
        "lt": column < low, "eb": column < low, "le": column < high,
    }  # fmt: skip
    return conditions[prefix]


def compare_period(start: Any, end: Any, dates: DateRange) -> Condition:
    """A period that may still run (no end) or whose start nobody told, against a stretch of time."""
    low, high = dates.low, dates.high
    running = sa.and_(end.is_(None), start.is_not(None))
    untold = sa.and_(start.is_(None), end.is_not(None))
    inside = sa.and_(start >= low, end < high)
    conditions: dict[str, Condition] = {
        "eq": inside,
        "ne": sa.or_(start < low, end >= high, running, untold),
        "gt": sa.or_(end >= high, running),
        "ge": sa.or_(end >= low, running),
        "lt": sa.or_(start < low, untold),
        "le": sa.or_(start < high, untold),
        "sa": start >= high,
        "eb": end < low,
    }
    return conditions[dates.prefix]


# ── types and their parameters ──────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One parameter of a type. `read` makes a condition of one value; `narrows`: few rows fit, counting is cheap."""

    name: str
    kind: Kind
    says: str
    read: Callable[[Work, str], Condition]
    narrows: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A resource and the patient it is about: audit notes whom an answer showed."""

    resource: Json
    patient_id: str
    updated_at: datetime


class ResourceType:
    """A type of resource that can be read and searched; each part of the house has its own."""

    name: str
    subject_type: str  # its word in audit

    def __init__(self, key: Any, parameters: Sequence[SearchParameter]) -> None:
        self.key = key  # the column of its id
        self.parameters = tuple(parameters)

    def rows(self, work: Work) -> sa.Select[Any]:
        """Every row the actor may find, with the columns `load` reads; the key is named `id`."""
        raise NotImplementedError

    def load(self, work: Work, rows: Sequence[sa.RowMapping]) -> list[Found]:
        """The resources of these rows, in their order; one query a table, whatever their number."""
        raise NotImplementedError

    def read(self, work: Work, key: str) -> Found:
        """The resource of that id; what stood there once and no longer counts is gone (410), not unknown (404)."""
        row = work.execute(self.rows(work).where(self.key == key)).mappings().one_or_none()
        if row is not None:
            return self.load(work, [row])[0]
        if self.was_deleted(work, key):
            raise HcrmError("fhir.gone", "该资源已不再有效", status=410)
        raise NotFoundError

    def was_deleted(self, work: Work, key: str) -> bool:
        """Whether something stood under that id once and no longer counts."""
        return False


def id_parameter(key: Any) -> SearchParameter:
    """`_id`: the resource's own id."""
    return SearchParameter("_id", "token", "资源编号", lambda _work, text: key == read_id(text), narrows=True)


def read_id(text: str) -> str:
    """An id as searched for."""
    value = unescape(text).strip()
    if not ID.fullmatch(value):
        raise refused("编号只能由字母、数字、点和连字符组成")
    return value


def updated_parameter(key: Any, column: Any) -> SearchParameter:
    """`_lastUpdated`: when it last changed here, found by its own index before the page is cut by id."""

    def read(_work: Work, text: str) -> Condition:
        dates = read_dates(text)
        return key.in_(sa.select(key).where(compare(column, dates.prefix, dates.low, dates.high)))

    return SearchParameter("_lastUpdated", "date", "最后更新时间", read)


def reference_reader(column: Any, kind: str) -> Callable[[Work, str], Condition]:
    """Reads a reference into a condition on a column of keys."""

    def read(_work: Work, text: str) -> Condition:
        key = read_reference(text, kind)
        return sa.false() if key is None else column == key

    return read


# ── a search and its pages ──────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was understood. `count` 0 asks for the number only; `after` is the last id already shown."""

    arguments: tuple[tuple[str, str], ...]
    count: int
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """A page of what was found; `total` where counting is cheap or asked for."""

    found: list[Found]
    total: int | None
    next_key: str | None


def read_query(work: Work, kind: ResourceType, sent: Sequence[tuple[str, str]]) -> Query:
    """The search of a request's arguments, or the one its page key carries."""
    keys = [value for name, value in sent if name == PAGE_KEY]
    if keys:
        if len(keys) > 1 or any(name not in (PAGE_KEY, "_format") for name, _ in sent):
            raise refused(f"{PAGE_KEY} 只能单独使用，请原样使用 next 链接")
        return _open_key(work, kind, keys[0])
    check_format(sent)
    known = {parameter.name for parameter in kind.parameters}
    arguments = []
    for name, value in sent:
        if name in ("_count", "_format"):
            continue
        if name not in known:
            raise refused(f"{kind.name} 不支持这个检索参数或修饰符；支持的见 metadata")
        if not value or "\x00" in value or len(value) > limits.FHIR_VALUE_LENGTH:
            raise refused(f"检索参数 {name} 为空、过长或含有不可用的字符")
        arguments.append((name, value))
    counts = {name: value for name, value in sent if name == "_count"}
    count = 0 if counts.get("_count") == "0" else page_size(counts)
    return Query(tuple(arguments), count)


def check_format(sent: Iterable[tuple[str, str]]) -> None:
    """`_format` may only ask for what we speak."""
    if any(name == "_format" and value.partition(";")[0].strip() not in _FORMATS for name, value in sent):
        raise HcrmError("fhir.format", "只支持 JSON（application/fhir+json）", status=406)


def find_page(work: Work, kind: ResourceType, query: Query) -> Hits:
    """One page, by id: a row keeps its place whatever is written meanwhile, so none is shown twice or passed over."""
    by_name = {parameter.name: parameter for parameter in kind.parameters}
    conditions = list(_conditions(work, by_name, query))
    statement = kind.rows(work).where(*conditions)
    is_counted = query.count == 0 or any(by_name[name].narrows for name, _ in query.arguments)
    if query.count == 0:
        return Hits([], _count(work, kind, statement), None)
    page = statement if query.after is None else statement.where(kind.key > query.after)
    rows = work.execute(page.order_by(kind.key).limit(query.count + 1)).mappings().all()
    has_more = len(rows) > query.count
    found = kind.load(work, rows[: query.count]) if rows else []
    total = None
    if is_counted:
        is_whole = query.after is None and not has_more
        total = len(found) if is_whole else _count(work, kind, statement)
    next_key = _seal_key(work, kind, query, rows[query.count - 1]["id"]) if has_more else None
    return Hits(found, total, next_key)


def _conditions(work: Work, by_name: dict[str, SearchParameter], query: Query) -> Iterator[Condition]:
    """Parameters must all hold; of the values between commas one is enough."""
    values = 0
    for name, text in query.arguments:
        alternatives = split_unescaped(text, ",")
        values += len(alternatives)
        if values > limits.FHIR_SEARCH_VALUES:
            raise refused(f"一次检索最多 {limits.FHIR_SEARCH_VALUES} 个值")
        if not all(alternatives):
            raise refused(f"检索参数 {name} 含有空值")
        yield sa.or_(sa.false(), *(by_name[name].read(work, value) for value in alternatives))


def _count(work: Work, kind: ResourceType, statement: sa.Select[Any]) -> int:
    keys = statement.with_only_columns(kind.key, maintain_column_froms=True).subquery()
    return int(work.scalar(sa.select(sa.func.count()).select_from(keys)))


def _seal_key(work: Work, kind: ResourceType, query: Query, after: str) -> str:
    """The next page as a sealed text: what was searched for (a phone, a name) does not stand in an address again."""
    plain = json.dumps([kind.name, query.count, after, query.arguments], separators=(",", ":"))
    return urlsafe_b64encode(work.keys.seal_text(plain)).rstrip(b"=").decode()


def _open_key(work: Work, kind: ResourceType, key: str) -> Query:
    try:
        sealed = urlsafe_b64decode(key + "=" * (-len(key) % 4))
        name, count, after, arguments = json.loads(work.keys.open_text(sealed))
    except (ValueError, TypeError, IndexError, InvalidTag, HcrmError) as error:
        raise refused("页码无效，请从第一页重新检索") from error
    if name != kind.name:
        raise refused("页码属于另一种资源，请从第一页重新检索")
    return Query(tuple((name, value) for name, value in arguments), count, after)
