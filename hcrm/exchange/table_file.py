"""An uploaded list: what it is by its content, and its lines. Nothing is computed, no formula is run.

What a file is called decides nothing: a name that promises something else than the content is refused.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hcrm.core import limits
from hcrm.core.cells import cell_text, control_in, is_formula_like
from hcrm.core.charset import decode_strictly, utf8_in_disguise
from hcrm.core.errors import HcrmError
from hcrm.core.importing import OPEN_FORMULA
from hcrm.core.sheet import SheetUnreadable, read_sheet
from hcrm.core.text import size_over

HEADING_LINES: Final = 20  # a title or a date may stand above the headings
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
_STRANGERS: Final = {
    b"%PDF": "PDF 文档", b"\x89PNG": "图片", b"\xff\xd8\xff": "图片", b"GIF8": "图片", b"Rar!": "压缩包",
    b"7z\xbc\xaf": "压缩包", b"\x1f\x8b": "压缩包", b"MZ": "程序", b"{\\rtf": "RTF 文档",
}  # fmt: skip
_MARKUP: Final = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|\?xml|table|svg|script)", re.IGNORECASE
)
_DATE_1904: Final = re.compile(rb"date1904\s*=\s*[\"'](?:1|true)[\"']")
_SUFFIXES: Final = {".xlsx": "xlsx", ".xlsm": "xlsx", ".xls": "xls", ".csv": "csv", ".txt": "csv"}
_DELIMITERS: Final = ",;\t|"


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is read: `form` is xlsx, xls or csv, `charset` and `delimiter` are a CSV's."""

    form: str
    charset: str = ""
    delimiter: str = ""
    is_1904: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line as people see it in their program, by its number there."""

    number: int
    cells: list[str]
    is_merged: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """The line that names the columns, and the rows below it that show what they hold."""

    number: int
    names: list[str]
    sample: list[Line]


def check_size(size: int) -> None:
    """HcrmError where a file of so many bytes is larger than any we take; no need to read it for that."""
    if size > limits.MAX_UPLOAD_BYTES:
        raise _refused(f"文件有 {size_over(size, limits.MAX_UPLOAD_BYTES)}，请拆成几个文件")


def recognise(content: bytes, name: str) -> FileForm:
    """What the content is; HcrmError where it is no list, or another kind than its name promises."""
    if not content:
        raise _refused("文件是空的")
    check_size(len(content))
    found = _form_of(content)
    suffix = "." + name.rpartition(".")[2].lower() if "." in name else ""
    promised = _SUFFIXES.get(suffix)
    if promised is None:
        raise _refused("只能上传 .xlsx、.xls 或 .csv 文件")
    if promised != found.form:
        words = {"xlsx": "Excel 工作簿（xlsx）", "xls": "旧版 Excel 工作簿（xls）", "csv": "纯文本"}
        raise _refused(f"文件名以 {suffix} 结尾，内容却是{words[found.form]}；请用正确的格式另存后再上传")
    return found


def _form_of(content: bytes) -> FileForm:
    if content.startswith(_OLE):
        if _ENCRYPTED in content:
            raise _refused("文件有密码，请去掉密码后再上传")
        return FileForm("xls")
    if content.startswith(b"PK"):
        return FileForm("xlsx", is_1904=_check_packed(content))
    stranger = next((word for head, word in _STRANGERS.items() if content.startswith(head)), None)
    if stranger is None and _MARKUP.match(content):
        stranger = "网页"
    if stranger is not None:
        raise _refused(f"这不是表格，而是{stranger}")
    charset = _charset_of(content)
    text = content[: 64 * 1024].decode(charset, errors="replace")
    return FileForm("csv", charset=charset, delimiter=_delimiter_of(text))


def _check_packed(content: bytes) -> bool:
    """Whether days are counted from 1904. A sheet of a few kilobytes may unpack to gigabytes: that is refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            entries = packed.infolist()
            if len(entries) > limits.MAX_UPLOAD_PARTS:
                raise _refused("文件内部的部件过多，无法读取")
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > limits.MAX_UPLOAD_UNPACKED:
                told = size_over(unpacked, limits.MAX_UPLOAD_UNPACKED)
                raise _refused(f"文件解压后有 {told}；请另存为 CSV，或拆成几个文件")
            if "xl/workbook.xml" not in packed.namelist():
                raise _refused("这是压缩包或别的文档，不是 Excel 工作簿")
            with packed.open("xl/workbook.xml") as book:
                return _DATE_1904.search(book.read(1024 * 1024)) is not None
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise _refused("文件已损坏，无法打开") from error


# ── text ────────────────────────────────────────────────────────────────────


def _charset_of(content: bytes) -> str:
    """UTF-8 or GB 18030, the whole file; HcrmError with the line where it is neither, or changes on its way."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in content:
        raise _refused("这不是文本，也不是 Excel 文件")
    if decode_strictly(content, "utf-8") is not None:
        return "utf-8-sig"
    is_first_utf8: bool | None = None
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.isascii():
            continue
        text = decode_strictly(line.rstrip(b"\r"), "gb18030")
        is_utf8 = decode_strictly(line, "utf-8") is not None
        if text is None and not is_utf8:
            raise _refused(f"第 {number} 行的文字编码无法识别；请把文件另存为“CSV UTF-8”后再上传")
        if is_utf8 and text is not None and utf8_in_disguise(line, text, "gb18030") != "sure":
            continue  # could be either
        if is_first_utf8 is None:
            is_first_utf8 = is_utf8
        elif is_first_utf8 is not is_utf8:
            before, here = ("UTF-8", "GB18030") if is_first_utf8 else ("GB18030", "UTF-8")
            raise _refused(
                f"文件混用了两种文字编码：前面是 {before}，第 {number} 行是 {here}；请统一另存为“CSV UTF-8”后再上传"
            )
    if decode_strictly(content, "gb18030") is None:
        raise _refused("文件的文字编码无法识别；请另存为“CSV UTF-8”后再上传")
    return "gb18030"


def _delimiter_of(text: str) -> str:
    """What stands in most of the first lines, and there most often."""
    lines = [line for line in text.splitlines()[:HEADING_LINES] if line.strip()]
    counts = {mark: [line.count(mark) for line in lines] for mark in _DELIMITERS}
    return max(_DELIMITERS, key=lambda mark: (sum(map(bool, counts[mark])), sum(counts[mark])))


# ── lines ───────────────────────────────────────────────────────────────────


def read_lines(content: bytes, form: FileForm) -> Iterator[Line]:
    """Every line that holds anything; HcrmError where the file breaks off."""
    lines = _text_lines(content, form) if form.form == "csv" else _sheet_lines(content)
    for line in lines:
        while line.cells and not line.cells[-1]:
            line.cells.pop()
        if len(line.cells) > limits.MAX_UPLOAD_COLUMNS:
            raise _refused(f"第 {line.number} 行多于 {limits.MAX_UPLOAD_COLUMNS} 列；请删去不需要的列")
        if line.cells:
            yield line


def _text_lines(content: bytes, form: FileForm) -> Iterator[Line]:
    content = content.removesuffix(b"\x1a")  # how DOS ends a text
    text = io.TextIOWrapper(io.BytesIO(content), encoding=form.charset, newline="")
    reader = csv.reader(text, delimiter=form.delimiter, strict=True)  # else an open quote swallows the rest
    number = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _refused(f"第 {number} 行无法读取，可能缺少引号") from error
        except UnicodeError as error:
            raise _refused(f"第 {number} 行附近的文字编码无法识别") from error
        yield Line(number, [_unquoted(cell_text(cell)) for cell in cells])
        number = reader.line_num + 1


def _unquoted(text: str) -> str:
    """What stood before a sign was put in front so that no program takes it for a formula (`write_csv`)."""
    return text[1:] if text.startswith("'") and is_formula_like(text[1:]) else text


def _sheet_lines(content: bytes) -> Iterator[Line]:
    try:
        for line in read_sheet(
            content, "", memory=limits.SHEET_BYTES, seconds=limits.SHEET_SECONDS,
            columns=limits.MAX_UPLOAD_COLUMNS + 1, characters=limits.MAX_UPLOAD_CELL + 1,
            lost=OPEN_FORMULA,
        ):  # fmt: skip
            yield Line(line.number, [_shown(value) for value in line.cells], line.is_merged)
    except SheetUnreadable as error:
        sentence = {
            "locked": "文件有密码，请去掉密码后再上传",
            "oversize": "表格过大，无法读取；请删去空白的行列，或拆成几个文件",
        }.get(error.reason, "文件已损坏，无法读取")
        raise _refused(sentence) from error


def _shown(value: object) -> str:
    """A moment of the sheet without its midnight."""
    text = cell_text(value)
    return text[:10] if len(text) == 19 and text.endswith("T00:00:00") else text


def find_heading(
    content: bytes, form: FileForm, known: frozenset[str], *, may_be_empty: bool = False
) -> Heading:
    """The line that names the columns: the one of the first that holds most known headings, else the first wide one.

    `may_be_empty`: known headings need no row below them.
    """
    first = list(islice(read_lines(content, form), HEADING_LINES + 8))
    may_be_empty = may_be_empty and any(
        sum(plain_heading(cell) in known for cell in line.cells) > 1 for line in first
    )
    if len(first) < 2 and not may_be_empty:
        raise _refused("表格中没有数据：需要一行列名，下面至少一行数据")
    widest = max(len(line.cells) for line in first)
    best, most = 0, 0
    for at, line in enumerate(first[:HEADING_LINES]):
        found = sum(plain_heading(cell) in known for cell in line.cells)
        if found > most:
            best, most = at, found
    if not most:
        best = next((at for at, line in enumerate(first) if len(line.cells) * 2 > widest), 0)
    if best + 1 >= len(first) and not may_be_empty:
        raise _refused("表格中没有数据：列名下面没有行")
    heading = first[best]
    if heading.is_merged:
        raise _refused(f"第 {heading.number} 行（列名）有合并的单元格，请取消合并后再上传")
    for at, name in enumerate(heading.cells, start=1):
        if control := control_in(name):
            raise _refused(
                f"第 {heading.number} 行（列名）第 {at} 列含有看不见的控制字符（{control}），请重新填写列名"
            )
    return Heading(heading.number, heading.cells, first[best + 1 : best + 9])


def plain_heading(text: str) -> str:
    """A heading without what people decorate it with: 「*姓 名（必填）」 is 姓名."""
    return re.sub(r"[（(【\[].*?[）)】\]]|[\s*＊:：_\-./]", "", text).casefold()


def _refused(sentence: str) -> HcrmError:
    return HcrmError("import.file", sentence, field="file")
