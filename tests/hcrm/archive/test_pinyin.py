"""Names as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.names.pinyin import load_readings, name_pinyin, spellings
from hcrm.core import limits
from hcrm.core.errors import HcrmError


@pytest.mark.parametrize(
    ("name", "full", "initials"),
    [
        ("张三", "zhangsan", "zs"),
        ("曾国藩", "zengguofan", "zgf"),
        ("单雄信", "shanxiongxin", "sxx"),
        ("仇英", "qiuying", "qy"),
        ("任明霞", "renmingxia", "rmx"),
        ("吕布", "lvbu", "lb"),
        ("欧阳修", "ouyangxiu", "oyx"),
        ("欧阳", "ouyang", "oy"),
        ("尉迟恭", "yuchigong", "ycg"),
        ("长孙无忌", "zhangsunwuji", "zswj"),
        ("单于氏", "chanyushi", "cys"),
        ("万俟卨", "moqixie", "mqx"),
        ("阿依古丽·买买提", "ayigulimaimaiti", "ayglmmt"),
        ("Smith John", "smithjohn", "sj"),
        ("  ", "", ""),
        ("", "", ""),
    ],
)
def test_a_name_has_these_letters(name, full, initials):
    assert name_pinyin(name) == (full, initials)


@pytest.mark.parametrize(("surname", "readings"), load_readings().surnames.items())
def test_a_surname_is_read_as_a_surname_and_found_in_every_reading(surname, readings):
    full, initials = name_pinyin(f"{surname}明")
    found = spellings(f"{surname}明")

    assert full == f"{readings[0].replace(' ', '')}ming"
    assert initials == "".join(part[0] for part in (*readings[0].split(), "ming"))
    for reading in readings:
        assert f"{reading.replace(' ', '')}ming" in found
        assert "".join(part[0] for part in (*reading.split(), "m")) in found


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("单雄信", ("shanxiongxin", "danxiongxin", "chanxiongxin", "sxx", "dxx", "cxx")),
        ("曾国藩", ("zengguofan", "cengguofan", "zgf", "cgf")),
        ("仇英", ("qiuying", "chouying")),
        ("解缙", ("xiejin", "jiejin")),
        ("查良镛", ("zhaliangyong", "chaliangyong")),
        ("区寄", ("ouji", "quji")),
        ("翟让", ("zhairang", "dirang")),
        ("李乐", ("lile", "liyue", "ll", "ly")),
        ("张重行", ("zhangzhongxing", "zhangchonghang", "zzx", "zch")),
        ("吕布", ("lvbu", "lubu", "lyubu", "lb")),
        ("尉迟恭", ("yuchigong", "weichigong")),
        ("José Smith-Jones", ("josesmithjones", "smithjones", "js")),
        ("古丽·买买提", ("gulimaimaiti", "glmmt")),
    ],
)
def test_every_reading_that_is_in_use_finds_the_name(name, typed):
    assert set(typed) <= spellings(name)


def test_a_file_with_a_slip_is_refused_with_its_line(tmp_path):
    file = tmp_path / "names.yaml"
    file.write_text("surnames:\n  单: [Shan]\ngiven: {}\n", encoding="utf-8")

    with pytest.raises(HcrmError, match="2 行"):
        load_readings(file)


@given(st.text(max_size=12))
def test_any_text_has_letters_without_blanks(name):
    full, initials = name_pinyin(name)

    assert not any(letter.isspace() for letter in full + initials)
    assert len(initials) <= len(full) or not full
    assert name_pinyin(name)[0] in spellings(name) or not full.isalnum() or not full.isascii()
    assert len(spellings(name)) <= 4 * limits.NAME_SPELLINGS + len(name)
    assert all(each.isascii() and each.isalnum() and each == each.lower() for each in spellings(name))
