from pathlib import Path

import pytest

from hcrm.core.definition_file import Count, Definition, DefinitionPart, load_definitions, parse_definition
from hcrm.core.errors import HcrmError


class Leaf(DefinitionPart):
    name: str
    size: Count = 0


class Tree(Definition):
    leaves: tuple[Leaf, ...] = ()


HEAD = "code: a.tree\nversion: 1\nstatus: draft\ntitle: 树\n"


def refusal(text: str) -> str:
    with pytest.raises(HcrmError) as caught:
        parse_definition(Tree, text, "forms/a_tree.yaml")
    assert caught.value.code == "definition.invalid"
    assert "forms/a_tree.yaml" in caught.value.message
    return caught.value.message


def test_a_good_file_becomes_its_definition() -> None:
    tree = parse_definition(Tree, HEAD + "leaves:\n  - {name: 叶, size: 2}\n", "a_tree.yaml")

    assert (tree.code, tree.version, tree.leaves) == ("a.tree", 1, (Leaf(name="叶", size=2),))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (HEAD + "colour: green\n", 5, "不认识“colour”"),
        (HEAD + "leaves:\n  - {size: 2}\n", 6, "缺少“name”"),
        (HEAD + "leaves:\n  - {name: a}\n  - {name: b, size: big}\n", 7, "应为整数"),
        (HEAD + "leaves:\n  - {name: b, size: -1}\n", 6, "不能小于 0"),
        (HEAD + "leaves:\n  - name: no\n", 6, "请加引号"),
        (HEAD + "leaves: none\n", 5, "应为列表"),
        (HEAD + "leaves: [3]\n", 5, "应为若干“名称: 值”"),
        (HEAD.replace("draft", "final"), 3, "只能是 draft、signed"),
        (HEAD.replace("a.tree", "A-Tree"), 1, "只能用小写字母、数字和下划线"),
        (HEAD + "title: 又一棵\n", 5, "“title”写了两次"),
        (HEAD + "leaves: [unclosed\n", 6, "YAML 写法有误"),
        ("", 1, "应为若干“名称: 值”"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_and_a_sentence_in_chinese(
    text: str, line: int, said: str
) -> None:
    message = refusal(text)

    assert f"第 {line} 行" in message
    assert said in message


def test_every_mistake_of_a_file_is_said_at_once() -> None:
    message = refusal("code: a.tree\nversion: 0\nstatus: draft\ntitle: ''\n")

    assert "不能小于 1" in message
    assert "不能为空" in message


def test_an_impossible_date_and_a_control_character_are_refused_too() -> None:
    assert "第 5 行：没有这样的日期或时间" in refusal(HEAD + "made: 2026-02-30\n")
    assert "YAML 写法有误" in refusal(HEAD + "note: a\x00b\n")


def test_a_folder_is_read_in_the_order_of_its_file_names(tmp_path: Path) -> None:
    for code in ("b.tree", "a.tree"):
        text = HEAD.replace("a.tree", code)
        (tmp_path / f"{code.replace('.', '_')}.yaml").write_text(text, encoding="utf-8")

    assert [tree.code for tree in load_definitions(Tree, tmp_path)] == ["a.tree", "b.tree"]


def test_a_file_must_be_named_after_its_code(tmp_path: Path) -> None:
    (tmp_path / "tree.yaml").write_text(HEAD, encoding="utf-8")

    with pytest.raises(HcrmError, match=r"tree\.yaml.*文件名应为 a_tree\.yaml"):
        load_definitions(Tree, tmp_path)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a_tree.yaml").write_text(HEAD, encoding="gb18030")

    with pytest.raises(HcrmError, match=r"a_tree\.yaml.*UTF-8"):
        load_definitions(Tree, tmp_path)


def test_a_missing_folder_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(HcrmError, match="没有找到这个目录"):
        load_definitions(Tree, tmp_path / "absent")
