from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from hcrm.directory.refresh_regions import (
    RegionRow,
    main,
    merge_regions,
    read_package,
    read_table,
    write_table,
)

PACKAGE = r"""
const areaList = {
    province_list: {
        330000: "\u6D59\u6C5F\u7701",
        440000: "广东省"
    },
    city_list: {
        330100: "杭州市",
        441900: "东莞市"
    },
    county_list: {
        330106: "西湖区",
        441901: "中堂镇"
    }
};
"""
DAY = date(2027, 3, 1)
WEST_LAKE = RegionRow("330106", "西湖区", "330100", "county")
LINPING = RegionRow("330113", "临平区", "330100", "county")


def test_the_package_is_read_with_parents_and_without_invented_codes() -> None:
    assert read_package(PACKAGE) == [
        RegionRow("330000", "浙江省", "", "province"),
        RegionRow("440000", "广东省", "", "province"),
        RegionRow("330100", "杭州市", "330000", "city"),
        RegionRow("441900", "东莞市", "440000", "city"),
        WEST_LAKE,
    ]


def test_the_first_table_knows_no_dates() -> None:
    assert merge_regions([], [LINPING, WEST_LAKE], DAY) == [WEST_LAKE, LINPING]


def test_what_is_gone_keeps_its_row_with_its_last_day_and_what_is_new_gets_its_first() -> None:
    assert merge_regions([WEST_LAKE], [LINPING], DAY) == [
        RegionRow("330106", "西湖区", "330100", "county", "", "2027-02-28"),
        RegionRow("330113", "临平区", "330100", "county", "2027-03-01", ""),
    ]


def test_a_second_refresh_with_the_same_data_changes_nothing() -> None:
    once = merge_regions([WEST_LAKE], [LINPING], DAY)

    assert merge_regions(once, [LINPING], date(2028, 1, 1)) == once


def test_a_new_name_replaces_the_old_one_under_its_code() -> None:
    renamed = RegionRow("330106", "新西湖区", "330100", "county")

    assert merge_regions([WEST_LAKE], [renamed], DAY) == [renamed]


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = tmp_path / "regions.csv"
    rows = merge_regions([WEST_LAKE], [LINPING], DAY)

    write_table(table, rows)

    assert read_table(table) == rows


@pytest.mark.parametrize("text", ["", "const areas = {}"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    package, table = tmp_path / "index.js", tmp_path / "regions.csv"
    package.write_text(text, encoding="utf-8")

    result = CliRunner().invoke(main, [str(package), str(table), "--on", "2027-03-01"])

    assert result.exit_code == 1
    assert "province_list not found" in result.output
    assert not table.exists()
