"""Why another system's database cannot be read, as a code of ours: by SQLSTATE, error number, else the server's words.

The text of a driver's error may hold an address, a user or a statement, so only the code goes on to a page or a log;
its sentence is in `hcrm.inbox.words`.
"""

import re
from collections.abc import Mapping
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

_STATES: Final = (  # SQLSTATE, ISO/IEC 9075 and PostgreSQL appendix A, by its beginning
    ("28", "view.login"),
    ("3D000", "view.database"),
    ("42P01", "view.missing"),
    ("42703", "view.missing"),
    ("3F000", "view.missing"),
    ("42S02", "view.missing"),
    ("42S22", "view.missing"),
    ("42501", "view.rights"),
    ("57014", "view.timeout"),
    ("HYT0", "view.timeout"),
    ("08", "view.host"),
    ("57P0", "view.host"),
)
_MYSQL: Final = {
    1044: "view.rights", 1045: "view.login", 1049: "view.database", 1054: "view.missing", 1130: "view.login",
    1142: "view.rights", 1143: "view.rights", 1146: "view.missing", 1205: "view.timeout", 1356: "view.missing",
    1698: "view.login", 1969: "view.timeout", 2002: "view.host", 2003: "view.host", 2005: "view.host",
    2006: "view.host", 2055: "view.host", 3024: "view.timeout", 3118: "view.login",
}  # fmt: skip
_SQL_SERVER: Final = {
    207: "view.missing", 208: "view.missing", 229: "view.rights", 230: "view.rights", 4060: "view.database",
    18452: "view.login", 18456: "view.login", 20002: "view.host", 20003: "view.timeout", 20009: "view.host",
}  # fmt: skip
_NUMBERS: Final[Mapping[str, Mapping[int, str]]] = {"pymysql": _MYSQL, "pymssql": _SQL_SERVER}
"""Error numbers by the driver's package."""
_ORACLE: Final = {
    "ORA-00904": "view.missing", "ORA-00942": "view.missing", "ORA-01013": "view.timeout", "ORA-01017": "view.login",
    "ORA-01031": "view.rights", "ORA-01045": "view.rights", "ORA-12170": "view.host", "ORA-12505": "view.database",
    "ORA-12514": "view.database", "ORA-12541": "view.host", "ORA-12545": "view.host", "ORA-28000": "view.login",
    "ORA-28001": "view.login", "DPY-4024": "view.timeout", "DPY-6001": "view.database", "DPY-6003": "view.database",
    "DPY-6005": "view.host",
}  # fmt: skip
_WORDS: Final = (  # servers that refuse a connection tell libpq no state; SQLite has none
    ("view.rights", re.compile("permission denied|权限不够|DENIED on object", re.IGNORECASE)),
    (
        "view.login",
        re.compile(
            "authentication|认证|pg_hba|role .* does not exist|角色.*不存在|no password supplied",
            re.IGNORECASE,
        ),
    ),
    ("view.database", re.compile("database .* does not exist|数据库.*不存在", re.IGNORECASE)),
    ("view.missing", re.compile("no such (?:table|column)", re.IGNORECASE)),
    (
        "view.timeout",
        re.compile(r"during query \(.*timed out|statement timeout|语句超时|interrupted", re.IGNORECASE),
    ),
    (
        "view.host",
        re.compile(
            "refused|unreachable|is the server running|translate host name|resolve|name or service|timed out|timeout|"
            "closed the connection|unable to open database file|lost connection",
            re.IGNORECASE,
        ),
    ),
)


def view_fault(error: SQLAlchemyError) -> str:
    """A code that `hcrm.inbox.words` has a sentence for; the error's class where nobody can say."""
    cause = getattr(error, "orig", None)
    return _by_state(cause) or _by_number(cause) or _by_words(str(cause or "")) or type(error).__name__


def _by_state(cause: object) -> str:
    state = getattr(cause, "sqlstate", None)
    if not isinstance(state, str):
        return ""
    return next((code for begin, code in _STATES if state.startswith(begin)), "")


def _by_number(cause: object) -> str:
    first = next(iter(getattr(cause, "args", ())), None)
    full = getattr(first, "full_code", "")
    if full:  # oracledb hands over an object
        return _ORACLE.get(full, "")
    numbers = _NUMBERS.get(type(cause).__module__.partition(".")[0], {})
    return numbers.get(first, "") if isinstance(first, int) else ""


def _by_words(text: str) -> str:
    return next((code for code, pattern in _WORDS if pattern.search(text)), "")
