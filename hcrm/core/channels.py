"""Ways on which a source is heard beside the HL7 socket: drop folder, database view, list of the day, SOAP. Pure data.

A row (of a view, a list or a flat XML payload) names its columns once, in the source's file, by a closed vocabulary.
"""

import re
from datetime import date, time, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from hcrm.core.config_file import WallTime, checked_charset

RowField = Literal[
    "patient_no", "visit_no", "id_number", "name", "sex", "birth_date", "phone", "address", "region_code",
    "encounter_class", "ward", "department", "department_name", "attending", "attending_name", "admitted_at",
    "discharged_at", "discharge_way", "diagnosis", "diagnosis_name", "died_at", "event", "changed_at",
]  # fmt: skip
"""What a column of a row may mean."""

RowEvent = Literal[
    "stay", "admit", "register", "discharge", "update", "person", "cancel_admit", "cancel_discharge",
]  # fmt: skip
"""What a row tells; `stay` is a discharge where `discharged_at` is filled, else an admission."""

EncounterClassWord = Literal["inpatient", "outpatient", "emergency", "preadmit", "checkup"]
"""Classes of visits by our own words."""

CsvCharset = Annotated[str, AfterValidator(lambda value: value and checked_charset(value))]
"""Of a CSV file; empty: found out."""

_NAME = re.compile(r"[^\W\d][\w$#]{0,127}(?:\.[^\W\d][\w$#]{0,127}){0,2}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rows(_Part):
    """How a row is read: which column is what, and what it tells."""

    columns: dict[RowField, str]
    event: RowEvent = "stay"
    events: dict[str, RowEvent] = Field(default_factory=dict, description="words of the column `event`")
    patient_no_type: str = Field(
        default="",
        description="PID-3.5 the number has in HL7; empty: the one `identifier_types` maps to record",
    )
    patient_no_authority: str = Field(
        default="", description="PID-3.4 it has there; empty: `default_authority`"
    )
    visit_no_authority: str = Field(
        default="", description="PV1-19.4 the visit number has there; empty: `default_authority`"
    )
    default_class: EncounterClassWord | None = Field(
        default=None, description="class of rows that name none; of a census the only one of its `classes`"
    )

    @model_validator(mode="after")
    def _complete(self) -> "Rows":
        if "patient_no" not in self.columns:
            raise ValueError("columns 缺少 patient_no")
        if len(set(self.columns.values())) < len(self.columns):
            raise ValueError("columns 中同一列用了两次")
        if ("event" in self.columns) != bool(self.events):
            raise ValueError("列 event 与对照表 events 要么都写，要么都不写")
        return self

    @property
    def usual_class(self) -> str:
        """Class of the stays its rows open, where no cell says it; empty: nobody knows."""
        return self.default_class or ""

    @property
    def is_classless(self) -> bool:
        """Whether its rows may open stays and nothing says of what class."""
        opens = {"stay", "admit", "register", "discharge"} & {*self.events.values(), self.event}
        return bool(opens) and "encounter_class" not in self.columns and not self.usual_class


class Folder(_Part):
    """A folder the sender puts files into: HL7 messages, or lists where the source has `list_file`."""

    path: Path
    pattern: str = "*"
    ready: Literal["still", "ok"] = Field(
        default="still",
        description="a file is whole when it stands still, or when `<name>.ok` lies beside it",
    )
    still_seconds: float = Field(default=5.0, ge=0)
    every_seconds: float = Field(default=5.0, ge=1)
    keep_days: int = Field(default=30, ge=1, description="how long taken files lie in the archive folder")

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("应为绝对路径")
        return value


class ListFile(Rows):
    """A list as CSV or XLSX, picked up from the folder; the first line names the columns."""

    charset: CsvCharset = Field(default="", description="of CSV; empty: UTF-8, else GB 18030")
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    sheet: str = Field(default="", description="of XLSX; empty: the first")


def _plain_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("应为表或视图的名字，可带模式名")
    return value


class ReadOnlyView(_Part):
    """A view of the sender's database, which we only read."""

    url: str = Field(description="SQLAlchemy address, without a password")
    password_env: str = Field(default="", description="environment variable that holds the password")
    password_file: Path | None = Field(default=None, description="or a file that does")
    name: Annotated[str, AfterValidator(_plain_name)]
    statement_seconds: float = Field(default=60.0, ge=1)

    @field_validator("url")
    @classmethod
    def _without_password(cls, value: str) -> str:
        url = urlsplit(value)
        if not url.scheme:
            raise ValueError("数据库地址无法识别")
        words = [name.lower() for name, _ in parse_qsl(url.query)]
        if url.password is not None or any("pass" in word or word == "pwd" for word in words):
            raise ValueError("密码不写在文件里：用 password_env 或 password_file")
        return value

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_env and self.password_file:
            raise ValueError("password_env 与 password_file 只写一个")
        return self


class View(Rows, ReadOnlyView):
    """A read-only view of the sender's database, polled by watermark."""

    watermark: str = Field(description="column that grows with every change: a time or a number")
    key: tuple[str, ...] = Field(min_length=1, description="columns that tell rows with one watermark apart")
    since: str = Field(default="", description="first watermark; empty: from the beginning")
    every_seconds: float = Field(default=60.0, ge=1)
    overlap: int = Field(default=300, ge=0, description="seconds (numbers: steps) read again for late rows")
    batch: int = Field(default=500, ge=1, le=5_000)
    empty_takes_back: tuple[Literal["discharged_at"], ...] = Field(
        default=(), description="columns whose emptying takes back what they said: a discharge"
    )

    @model_validator(mode="after")
    def _can_be_emptied(self) -> Self:
        if self.empty_takes_back and (
            self.event != "stay" or self.events or "discharged_at" not in self.columns
        ):
            raise ValueError("empty_takes_back 只用于 event: stay，且 columns 有 discharged_at")
        return self


class CensusView(ReadOnlyView):
    """A view that holds the HIS's own list of the stays of a day."""

    day: str = Field(default="", description="column that names the day; empty: the view is read whole")
    day_format: str = Field(
        default="", description="how a text column writes it, as %Y-%m-%d; empty: it is a date"
    )


DeathField = Literal["name", "id_number", "record_no", "birth_date", "died_on"]
"""What a column of a death list may mean."""


class DeathView(ReadOnlyView):
    """A view that holds the list of deaths; read whole, or only what was entered of late."""

    columns: dict[DeathField, str]
    day: str = Field(default="", description="column with the day of entry; empty: the view is read whole")
    days: int = Field(default=90, ge=1, description="with `day`: how many days back are read")
    charset: CsvCharset = Field(default="utf-8", description="of columns that come as bytes")

    @model_validator(mode="after")
    def _tells_people_apart(self) -> Self:
        if "name" not in self.columns:
            raise ValueError("columns 缺少 name")
        if "id_number" not in self.columns and not {"record_no", "birth_date"} <= self.columns.keys():
            raise ValueError("columns 需要 id_number，或 record_no 和 birth_date")
        return self


class CensusFile(_Part):
    """A file that holds it, read where it lies; `%Y%m%d` in its path stands for the day."""

    path: str
    names: Literal["day", "morning"] = Field(
        default="day", description="which day the path names: the day listed, or the morning after it"
    )
    still_seconds: float = Field(
        default=60.0, ge=0, description="a file written later than this is not whole"
    )
    charset: CsvCharset = Field(default="", description="of CSV; empty: UTF-8, else GB 18030")
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    sheet: str = Field(default="", description="of XLSX; empty: the first")

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        path = Path(value)
        if not path.is_absolute() or path.suffix.lower() not in (".csv", ".xlsx", ".xls"):
            raise ValueError("应为 CSV 或 XLSX 文件的绝对路径")
        if not re.search("%[dj]", value):
            raise ValueError("路径应含日期，如 %Y%m%d")
        return value

    def path_of(self, day: date) -> Path:
        """The file of one day listed."""
        named = day if self.names == "day" else day + timedelta(days=1)
        return Path(named.strftime(self.path))


class Census(Rows):
    """The HIS's own list of yesterday's admissions, discharges and deaths, compared with the archive each morning."""

    view: CensusView | None = None
    file: CensusFile | None = None
    at: WallTime = Field(default=time(6, 30), description="first look for the list, on the hospital's clock")
    due: WallTime = Field(default=time(8), description="a list that has not come by then raises the alarm")
    classes: tuple[str, ...] = Field(default=("inpatient",), description="classes of visits it lists")
    campuses: dict[str, str] = Field(
        default_factory=dict, description="department code of the directory to campus"
    )
    campus: str = Field(default="", description="campus of all other departments")
    tolerance_seconds: int = Field(default=60, ge=0, description="times that differ by less are the same")
    limit: int = Field(default=0, ge=0, description="findings of a day that raise no alarm")

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if (self.view is None) == (self.file is None):
            raise ValueError("view 与 file 写且只写一个")
        if "visit_no" not in self.columns:
            raise ValueError("columns 缺少 visit_no：名单按就诊流水号核对")
        if not {"admitted_at", "discharged_at"} & self.columns.keys():
            raise ValueError("columns 缺少 admitted_at 或 discharged_at")
        if "changed_at" in self.columns:
            raise ValueError("columns 不能有 changed_at：名单以取得的时间为准")
        if self.due < self.at:
            raise ValueError("due 早于 at")
        return self

    @property
    def usual_class(self) -> str:
        """Where nothing else says it the only one of its `classes`: a list of inpatients lists inpatients."""
        return super().usual_class or (self.classes[0] if len(self.classes) == 1 else "")

    @property
    def list_file(self) -> ListFile:
        """How its file is read."""
        assert self.file is not None
        return ListFile(
            columns=self.columns, event=self.event, events=self.events, charset=self.file.charset,
            delimiter=self.file.delimiter, sheet=self.file.sheet,
        )  # fmt: skip


class Soap(_Part):
    """Where the message stands in the sender's envelope, and how the answer is called."""

    payload: str = Field(
        default="", description="element that holds the message; empty: the first text with MSH"
    )
    answer: str = Field(default="return", description="element the answer stands in")
    rows: Rows | None = Field(default=None, description="for XML that is no HL7: paths of elements to fields")
