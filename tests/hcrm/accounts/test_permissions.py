"""The one list of permissions and the roles of `config/roles.yaml`."""

import pytest

from hcrm.accounts.permissions import EVERYONE, RowScope, load_roles, roles
from hcrm.accounts.queries import actor_for
from hcrm.accounts.service import set_roles
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.core.work import open_work
from hcrm.directory.models import Practitioner
from tests.support.builders import make_department

CONTRACT = [
    "service_centre", "agent", "physician", "department_head", "community", "tcm_care", "medical_office",
    "director", "interface", "sysadmin", "secadmin", "auditor",
]  # fmt: skip


def test_the_shipped_roles_are_those_of_the_contract():
    assert list(roles()) == CONTRACT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "roles:\n  x: {label: 甲, scope: all, permissions: [patient.raed]}",
            "第 2 行.*没有这样的权限：patient.raed",
        ),
        ("roles:\n  x: {label: 甲, scope: everything}", "第 2 行"),
        ("roles:\n  x: {label: 甲, scope: all, home: desk}", "不认识“home”"),
        ("roles:\n  x: {label: 甲, scope: all}\n  x: {label: 乙, scope: all}", "写了两次"),
    ],
)
def test_a_mistake_in_the_file_is_refused_with_its_line(tmp_path, text, said):
    path = tmp_path / "roles.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(HcrmError, match=said):
        load_roles(path)


def test_every_role_may_change_its_own_password():
    assert all(role.words >= EVERYONE for role in roles().values())


def test_administration_security_and_audit_are_kept_apart():
    held = [roles()[name].words - EVERYONE for name in ("sysadmin", "secadmin", "auditor")]

    assert not held[0] & held[2]
    assert not held[1] & held[2]
    assert not any(word.startswith("patient.") for words in held for word in words)


@pytest.fixture
def actor(database, clock, make_person):
    def load(account):
        with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
            return actor_for(work, work.get(type(account), account.id))

    return load


def test_a_physicians_scope_is_their_department_and_that_of_the_directory(
    actor, make_person, database, clock
):
    account = make_person(
        "p", ["physician"], department_code="A", practitioner_code="P1", display_name="李大夫"
    )
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        moved = make_department(work)
        work.get(Practitioner, account.practitioner_id).department_id = moved.id

    found = actor(account)

    assert found.department_ids == {account.department_id, moved.id}
    assert (found.practitioner_id, found.name, found.roles) == (
        account.practitioner_id,
        "李大夫",
        ("physician",),
    )


def test_the_widest_scope_of_several_roles_counts(actor, make_person):
    both = make_person("b", ["physician", "medical_office"], department_code="A")

    assert actor(both).department_ids is None
    assert actor(both).permissions == roles()["physician"].words | roles()["medical_office"].words


def test_a_system_administrator_and_a_physician_without_department_see_no_row(actor, make_person):
    assert actor(make_person("s", ["sysadmin"])).department_ids == frozenset()
    assert actor(make_person("p", ["physician"])).department_ids == frozenset()


def test_a_role_the_file_no_longer_names_gives_nothing(actor, make_person, monkeypatch):
    account = make_person("b", ["auditor"])
    left = {name: role for name, role in roles().items() if name != "auditor"}
    monkeypatch.setattr("hcrm.accounts.queries.roles", lambda: left)

    assert actor(account).permissions == frozenset()


def test_an_unknown_role_is_refused(make_person, database):
    account = make_person("b")

    with (
        pytest.raises(HcrmError, match="没有这个角色"),
        open_work(database, actor=system_actor("test")) as work,
    ):
        set_roles(work, account_id=account.id, role_names=["emperor"])


def test_scopes_are_a_closed_list():
    assert {scope.value for scope in RowScope} == {"own", "department", "all"}
