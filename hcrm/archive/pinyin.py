"""Names as people type them: full pinyin and initials."""

from functools import lru_cache

from hcrm.core.text import is_han

SURNAMES = {
    "曾": "zeng", "仇": "qiu", "单": "shan", "解": "xie", "查": "zha", "区": "ou", "翟": "zhai", "盖": "ge",
    "朴": "piao", "任": "ren", "召": "shao", "员": "yun", "宁": "ning", "车": "che", "黑": "he", "乐": "yue",
    "覃": "qin", "缪": "miao", "尉": "wei", "万": "wan", "种": "chong", "洗": "xian", "冼": "xian", "折": "she",
    "秘": "bi", "牟": "mu", "郇": "huan", "郗": "xi", "葛": "ge", "华": "hua", "纪": "ji", "过": "guo", "薄": "bo",
    "燕": "yan", "应": "ying", "臧": "zang", "晁": "chao", "卜": "bu", "占": "zhan", "长": "zhang", "祭": "zhai",
    "盛": "sheng", "石": "shi", "沈": "shen", "谌": "chen", "隗": "wei", "繁": "po", "逄": "pang", "娄": "lou",
    "尹": "yin", "佴": "nai", "哈": "ha", "撒": "sa", "那": "na", "能": "nai", "都": "du", "重": "chong", "教": "jiao",
}  # fmt: skip
"""Readings of surnames that a dictionary of words gets wrong."""
DOUBLE_SURNAMES = {
    "欧阳": "ouyang", "司马": "sima", "上官": "shangguan", "诸葛": "zhuge", "东方": "dongfang", "皇甫": "huangfu",
    "尉迟": "yuchi", "公孙": "gongsun", "慕容": "murong", "令狐": "linghu", "司徒": "situ", "夏侯": "xiahou",
    "南宫": "nangong", "独孤": "dugu", "长孙": "zhangsun", "宇文": "yuwen", "单于": "chanyu", "万俟": "moqi",
}  # fmt: skip


@lru_cache(maxsize=4096)
def name_pinyin(name: str) -> tuple[str, str]:
    """Full pinyin without blanks and the initials of a name: 曾国藩 is (`zengguofan`, `zgf`)."""
    if not is_han(name):
        words = name.lower().split()
        return "".join(words), "".join(word[0] for word in words)
    name = "".join(name.split())
    if name[:2] in DOUBLE_SURNAMES and len(name) > 2:
        syllables = _syllables(name[:2])
        full, rest = DOUBLE_SURNAMES[name[:2]], name[2:]
        initials = syllables[0][0] + syllables[1][0] if name[:2] != "万俟" else "mq"
    elif name[0] in SURNAMES:
        full, initials, rest = SURNAMES[name[0]], SURNAMES[name[0]][0], name[1:]
    else:
        # Apart from what is given: names are countless, surnames and given names are not.
        (full,), rest = _syllables(name[0]) or ("",), name[1:]
        initials = full[:1]
    given = _syllables(rest.replace("·", ""))
    return full + "".join(given), initials + "".join(syllable[0] for syllable in given)


@lru_cache(maxsize=16384)
def _syllables(text: str) -> tuple[str, ...]:
    from pypinyin import lazy_pinyin  # noqa: PLC0415  66 MB: only processes that write names load them

    return tuple(syllable.lower() for syllable in lazy_pinyin(text, errors="default"))
