"""Names as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.pinyin import DOUBLE_SURNAMES, SURNAMES, name_pinyin


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


@pytest.mark.parametrize("surname", [*SURNAMES, *DOUBLE_SURNAMES])
def test_a_surname_is_read_as_a_surname(surname):
    full, initials = name_pinyin(f"{surname}明")
    reading = SURNAMES.get(surname) or DOUBLE_SURNAMES[surname]

    assert full == f"{reading}ming"
    assert initials[0] == reading[0]
    assert len(initials) == len(surname) + 1


@given(st.text(max_size=12))
def test_any_text_has_letters_without_blanks(name):
    full, initials = name_pinyin(name)

    assert not any(letter.isspace() for letter in full + initials)
    assert len(initials) <= len(full) or not full
