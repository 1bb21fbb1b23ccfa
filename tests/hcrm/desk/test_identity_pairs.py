"""Archives that may be one person, on their pages: the list, two side by side, and each decision."""

import re
from datetime import date

import pytest

from hcrm.archive.identity.full_scan import continue_full_scan, scan_all
from hcrm.archive.identity.models import IdentityPair, PairState
from hcrm.archive.identity.scan import count_archives, scan_changed
from hcrm.archive.models import Patient, PatientMerge
from hcrm.core import limits
from hcrm.core.actor import system_actor
from tests.support.builders import make_encounter, make_patient, publish_matching
from tests.support.pair_house import house

__all__ = ["house"]


@pytest.fixture
def pair(database, clock, write, ward):
    """Two archives of 张建国 the rule has found, one with a stay; the pair's key."""

    def add(work):
        publish_matching(work)
        known = work.one(Patient, Patient.name == "张建国")
        second = make_patient(work, name="张建国")
        make_encounter(work, patient=second)
        return known.id, second.id

    write(add)
    clock.move(seconds=limits.PAIR_SETTLE_SECONDS + 1)
    scan_changed(database, system_actor("test"), clock)
    return write(lambda work: next(row.id for row in work.all(IdentityPair)))


def row_of(write, pair):
    return write(lambda work: work.get(IdentityPair, pair))


def version(answer) -> str:
    return re.search(r'name="version" value="(\d+)"', answer.text)[1]


def test_a_pair_is_found_in_the_list_and_shown_side_by_side(pair, browser_of):
    wang = browser_of("wang")
    assert f"/identity/pairs/{pair}" in wang.get("/identity").text

    page = wang.get(f"/identity/pairs/{pair}").text

    assert "相同" in page
    assert "仅左" in page  # one of them has a phone
    assert "默认：就诊" in page or "默认：较早" in page
    assert "138****8000" in page
    assert "13800138000" not in page


def test_a_merge_of_two_id_numbers_says_so_first(house, ward, browser_of):
    one, other = (house.person(id_number=number) for number in ("110101196603070011", "110101196603070038"))
    wang = browser_of("wang")
    pair = wang.post(f"/identity/compare/{one}", {"other": other}).location

    assert "证件号不同。" in wang.get(f"{pair}/merge?keep=low").text


def test_a_merge_shows_what_moves_and_needs_a_reason(pair, browser_of, write):
    wang = browser_of("wang")
    asked = wang.get(f"/identity/pairs/{pair}/merge?keep=low")
    assert "将移动" in asked.text
    assert '就诊 <span class="num">1</span>' in asked.text

    refused = wang.post(
        f"/identity/pairs/{pair}/merge", {"version": version(asked), "keep": "low", "reason": ""}
    )
    assert refused.status_code == 422
    assert "此项必填" in refused.text

    answer = wang.post(
        f"/identity/pairs/{pair}/merge", {"version": version(asked), "keep": "low", "reason": "核对了身份证"},
        follow_redirects=True,
    )  # fmt: skip
    assert "已合并" in answer.text
    assert "核对了身份证" in answer.text
    (merge,) = write(lambda work: work.all(PatientMerge))
    assert merge.survivor_id == row_of(write, pair).low_id
    assert "已经合并" in wang.get(f"/identity/pairs/{pair}").text


def test_a_stale_page_decides_nothing_and_keeps_what_was_typed(pair, browser_of, write):
    first, second = browser_of("wang"), browser_of("wang")
    seen = version(first.get(f"/identity/pairs/{pair}"))
    second.get(f"/identity/pairs/{pair}")
    second.post(f"/identity/pairs/{pair}/data", {"version": seen, "reason": "缺身份证"})

    answer = first.post(f"/identity/pairs/{pair}/apart", {"version": seen, "reason": "父子二人"})

    assert answer.status_code == 409
    assert "父子二人" in answer.text
    assert row_of(write, pair).state is PairState.NEEDS_DATA


@pytest.mark.parametrize(("act", "state"), [("apart", PairState.NOT_SAME), ("data", PairState.NEEDS_DATA)])
def test_a_decision_takes_the_pair_out_of_what_waits(pair, browser_of, write, act, state):
    wang = browser_of("wang")
    seen = version(wang.get(f"/identity/pairs/{pair}"))

    answer = wang.post(
        f"/identity/pairs/{pair}/{act}", {"version": seen, "reason": "是堂兄弟"}, follow_redirects=True
    )

    assert row_of(write, pair).state is state
    assert f"/identity/pairs/{pair}" not in answer.text
    assert "是堂兄弟" in wang.get(f"/identity?state={state.value}").text


def test_nobody_without_the_right_sees_or_decides(pair, browser_of):
    li = browser_of("li")

    assert li.get("/identity").status_code == 403
    assert li.get(f"/identity/pairs/{pair}").status_code == 403
    assert li.post(f"/identity/pairs/{pair}/apart", {"version": 1, "reason": "x"}).status_code == 403


def test_the_list_says_which_of_the_three_empty_states_it_is(pair, browser_of):
    wang = browser_of("wang")

    assert "没有待补资料的档案" in wang.get("/identity?state=needs_data").text
    assert wang.get("/identity?state=nonsense").status_code == 422
    assert "清除筛选" in wang.get("/identity?likely=1").text


# ── put side by side by hand ────────────────────────────────────────────────


@pytest.fixture
def strangers(write, ward):
    """Two archives the rule does not hold for one: the keys of both."""

    def add(work):
        publish_matching(work)
        known = work.one(Patient, Patient.name == "张建国")
        return known.id, make_patient(work, name="欧阳春", birth_date=date(1988, 8, 8)).id

    return write(add)


def test_any_two_archives_are_found_by_words_and_put_side_by_side(strangers, browser_of, write):
    one, other = strangers
    wang = browser_of("wang")
    assert f"/identity/compare/{one}" in wang.get(f"/patients/{one}").text
    found = wang.get(f"/identity/compare/{one}?q=欧阳春").text
    assert f'name="other" value="{other}"' in found
    assert f'name="other" value="{one}"' not in wang.get(f"/identity/compare/{one}?q=张建国").text  # itself

    answer = wang.post(f"/identity/compare/{one}", {"other": other}, follow_redirects=True)

    assert "是同一人吗？" in answer.text
    (pair,) = write(lambda work: work.all(IdentityPair))
    assert (pair.low_id, pair.high_id) == tuple(sorted(strangers))
    again = wang.post(f"/identity/compare/{other}", {"other": one})
    assert again.headers["Location"].endswith(f"/identity/pairs/{pair.id}")


def test_an_archive_is_not_put_beside_itself_nor_beside_a_test_patients(strangers, browser_of, write):
    one, other = strangers
    wang = browser_of("wang")
    itself = wang.post(f"/identity/compare/{one}", {"other": one})
    assert (itself.status_code, "这已经是同一份档案" in itself.text) == (422, True)

    write(lambda work: setattr(work.get(Patient, other), "is_test", True))
    refused = wang.post(f"/identity/compare/{one}", {"other": other})
    assert (refused.status_code, "测试患者" in refused.text) == (409, True)
    assert wang.post(f"/identity/compare/{one}", {"other": "0" * 32}).status_code == 404


def test_nobody_without_the_right_puts_two_side_by_side(strangers, browser_of):
    one, other = strangers
    li = browser_of("li")

    assert li.get(f"/identity/compare/{one}").status_code == 403
    assert li.post(f"/identity/compare/{one}", {"other": other}).status_code == 403


def test_no_page_tells_a_clerk_to_run_a_command(pair, browser_of, write, database, clock):
    wang = browser_of("wang")
    before = wang.get("/identity").text
    assert "hcrm " not in before
    assert "还没有把全部档案一次比对完" in before

    actor = system_actor("test")
    with pytest.raises(KeyboardInterrupt):
        scan_all(database, actor, clock, progress=stop)
    total = write(count_archives)
    text = wang.get("/identity").text
    assert f'共 <span class="num">{total}</span> 份' in text

    told = []
    scan_all(database, actor, clock, afresh=True, progress=lambda *each: told.append(each))
    assert told[-1][:2] == (total, total)
    assert "比对过" in wang.get("/identity").text


def test_all_archives_are_compared_at_the_press_of_a_button_once_and_the_page_says_how_far(
    pair, browser_of, write, database, clock
):
    wang = browser_of("wang")
    assert "比对全部档案" in wang.get("/identity").text

    assert wang.post("/identity/scan", {}).location == "/identity"
    page = wang.get("/identity").text
    assert ('hx-get="/identity/scan"' in page, 'action="/identity/scan"' in page) == (True, False)
    assert "正在比对全部档案</span> 由 王" in page
    wang.post("/identity/scan", {})
    assert "全部档案的比对正在进行，不必再开始" in wang.get("/identity").text
    assert '已比对 <span class="num">0</span> 份' in wang.get("/identity/scan").text

    continue_full_scan(database, system_actor("test"), clock)
    assert wang.get("/identity/scan").headers["HX-Refresh"] == "true"
    assert 'action="/identity/scan"' in wang.get("/identity").text


def test_nobody_without_the_right_has_all_archives_compared(pair, browser_of):
    li = browser_of("li")

    assert li.post("/identity/scan", {}).status_code == 403
    assert li.get("/identity/scan").status_code == 403


def stop(*_: int) -> None:
    raise KeyboardInterrupt
