"""The demo hospital's accounts: whoever is named on the screen can sign in, and a colleague can approve an export."""

from adapters.his.simulator import load_hospital
from hcrm.accounts.models import Account
from hcrm.accounts.permissions import roles as known_roles
from hcrm.cli.demo import enter_staff, logins


def test_everybody_named_on_the_screen_has_an_account_and_an_export_finds_who_approves_it(database, write):
    hospital = load_hospital()

    enter_staff(database, hospital)

    named = {login.username for login in logins(hospital)}
    roles = write(
        lambda work: {each.username: {role.name for role in each.roles} for each in work.all(Account)}
    )
    assert named <= roles.keys()
    may_approve = {name for name, role in known_roles().items() if "data.export_approve" in role.permissions}
    assert {name for name in named - {"service"} if roles[name] & may_approve}
