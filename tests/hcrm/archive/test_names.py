"""Finding patients by name: the same as looking at every name, whatever the characters; tokens that stay in step."""

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.archive.arrivals import Arrival
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import Patient
from hcrm.archive.names import tokens as name_tokens
from hcrm.archive.names.models import NameToken
from hcrm.archive.names.tokens import fold_name, keep_names, rebuild_names, tokens_of
from hcrm.archive.parting.service import undo_merge
from hcrm.archive.search.patients import search_patients
from hcrm.archive.search.words import read_words
from hcrm.archive.service import absorb_records
from hcrm.cli.main import main
from hcrm.core.db import Database, migration_engine, parse_url
from hcrm.core.errors import HcrmError
from hcrm.core.migrate import migrate
from tests.support.builders import make_patient
from tests.support.changes import change

# Few characters, so that pieces meet: common ones, repeated ones, beyond the BMP, a dot, Latin, what SQL minds.
ALPHABET = "张建国国买提·𠀀𠮷〇㐀éaB1 '%_\\"
NAMES = st.text(alphabet=ALPHABET, min_size=1, max_size=8)
WORDS = st.text(alphabet=ALPHABET, min_size=1, max_size=5)


def found(work, words):
    """Keys over all pages."""
    keys, page = [], search_patients(work, words, size=3)
    while True:
        keys += [line.id for line in page.items]
        if page.next_key is None:
            return keys
        page = search_patients(work, words, size=3, key=page.next_key)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=1, max_size=8), WORDS)
def test_a_part_of_a_name_finds_whom_a_scan_of_all_names_finds(work, names, words):
    folded = fold_name(words)
    if not folded or read_words(words).spelling or folded.isdigit():
        return  # letters and digits alone are looked for by their beginning
    with work.session.begin_nested() as savepoint:
        patients = [make_patient(work, name=name) for name in names]
        scanned = [one.id for one in patients if folded in fold_name(one.name)]

        assert found(work, words) == sorted(scanned, reverse=True)
        savepoint.rollback()


@pytest.mark.parametrize(
    "words", ["欧", "阳", "欧阳", "阳娜", "欧阳娜", "阳娜娜", "欧阳娜娜", "娜欧", "娜阳"]
)
def test_one_two_three_and_four_characters_find_what_like_finds(work, words):
    for name in ("欧阳娜娜", "欧阳娜", "阳欧娜", "娜娜欧阳", "阳娜阳", "张三", "𠮷欧阳"):
        make_patient(work, name=name)
    scanned = work.scalars(sa.select(Patient.id).where(Patient.name.contains(words, autoescape=True)))

    assert found(work, words) == sorted(scanned, reverse=True)


def test_spellings_go_by_the_alphabet_and_show_everybody_once(work):
    names = ["翟天", "张三", "张建", "曾国", "单雄", "钟馗"]
    for name in names:
        make_patient(work, name=name)

    def shown(words):
        return [work.get(Patient, key).name for key in found(work, words)]

    assert shown("z") == ["曾国", "翟天", "张建", "张三", "钟馗"]  # zengguo, zhaitian, zhangjian …
    assert shown("di") == ["翟天"]
    assert shown("zh") == ["翟天", "张建", "张三", "钟馗"]
    assert shown("SHANX") == shown("dan x") == shown("cx") == ["单雄"]


@pytest.mark.parametrize("words", ["·", " • ", "· ‧"])
def test_words_that_are_nothing_but_dots_are_refused_in_words(work, words):
    with pytest.raises(HcrmError, match="请输入姓名"):
        search_patients(work, words)


# ── tokens stay in step ─────────────────────────────────────────────────────


def tokens(work):
    rows = work.execute(sa.select(NameToken.patient_id, NameToken.kind, NameToken.token))
    return sorted(map(tuple, rows))


def should_be(work):
    return sorted(
        (one.id, *token)
        for one in work.session.scalars(sa.select(Patient).execution_options(populate_existing=True))
        for token in tokens_of(one.name)
    )


def rebuild(work):
    after = ""
    while after is not None:
        after = rebuild_names(work, after=after)


def absorb(work, *changes, first=1):
    absorb_records(work, arrivals=[Arrival(seq, one) for seq, one in enumerate(changes, start=first)])
    work.flush()


def test_what_messages_maintained_is_what_is_made_anew(work):
    absorb(
        work,
        change("A01", p=1, v="V1", name="单^雄信", m="10:00"),
        change("A01", p=2, v="V2", name="买买提·艾力", m="10:01"),
        change("A08", p=1, v="V1", name="单^雄信", m="10:02"),  # told again
        change("A08", p=2, v="V2", name="艾力", m="10:03"),  # another name, in the same batch
    )
    absorb(work, change("A08", p=1, v="V1", name="翟^让", m="11:00"), first=5)
    absorb(work, change("A08", p=1, v="V1", name="张^迟", m="10:30"), first=6)  # late: not taken over
    maintained = tokens(work)

    assert maintained == should_be(work)
    assert [len(found(work, words)) for words in ("翟", "单", "艾力", "买", "张", "zhair", "dan")] == [
        1, 0, 1, 0, 0, 1, 0]  # fmt: skip
    rebuild(work)
    assert tokens(work) == maintained


def test_a_merge_and_its_undoing_leave_every_archive_its_own_name(work):
    gone, stays = make_patient(work, name="张三"), make_patient(work, name="张叁")
    merge_id = merge_patients(work, survivor_id=stays.id, merged_id=gone.id, source="t", seq=None)
    assert found(work, "张") == [stays.id]
    assert tokens(work) == should_be(work)

    assert undo_merge(work, merge_id=merge_id, source="t") is None
    assert found(work, "张") == [stays.id, gone.id]
    assert tokens(work) == should_be(work)


def test_rebuilding_mends_what_was_lost_or_left_over_batch_by_batch(work, monkeypatch):
    monkeypatch.setattr(name_tokens, "BATCH", 2)
    patients = [make_patient(work, name=name) for name in ("张三", "李四", "王五", "", "赵六")]
    work.execute(sa.delete(NameToken).where(NameToken.token == "四"))
    keep_names(work, {patients[0].id: "孙七"})

    rebuild(work)

    assert tokens(work) == should_be(work)


def test_the_command_makes_them_all_anew(write, database_url, keys, monkeypatch):
    write(lambda work: [make_patient(work, name=name) for name in ("张三", "李四")] and None)
    write(lambda work: work.execute(sa.delete(NameToken)) and None)
    monkeypatch.setattr("hcrm.cli.names.open_database", lambda settings: Database(settings.db.url, keys))

    answer = CliRunner().invoke(main, ["names", "rebuild", "--db", database_url])

    assert answer.exit_code == 0, answer.output
    assert write(lambda work: (tokens(work), should_be(work))) == write(lambda work: (should_be(work),) * 2)


def test_the_migration_fills_them_for_archives_that_stand(blank_database_url):
    url = blank_database_url
    migrate(url, "20261122_1650")
    engine = migration_engine(parse_url(url))
    names = {"a": "单雄信", "b": "阿依古丽·买买提", "c": "", "d": "Smith John"}
    try:
        with engine.begin() as connection:
            for key, name in names.items():
                connection.execute(
                    sa.text(
                        "INSERT INTO patient (id, name, name_pinyin, name_initials, sex, deceased, is_stub, "
                        "is_nullified, provenance, created_at, updated_at, version) VALUES "
                        "(:key, :name, '', '', 'male', 'alive', false, false, '{}', :now, :now, 1)"
                    ),
                    {"key": key, "name": name, "now": "2026-11-22 00:00:00"},
                )
        migrate(url, "20261123_0900")
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT patient_id, kind, token FROM name_token")).all()
    finally:
        engine.dispose()

    assert sorted(map(tuple, rows)) == sorted(
        (key, *token) for key, name in names.items() for token in tokens_of(name)
    )


@pytest.mark.parametrize(
    ("name", "typed"), [("ΟΔΥΣΣΕΥΣ", "οδυσσευς"), ("Οδυσσεύς", "ΟΔΥΣΣΕΎΣ"), ("Strauß", "STRAUSS")]
)
def test_names_are_compared_without_their_case_in_any_alphabet(name, typed):
    assert fold_name(name) == fold_name(typed)
