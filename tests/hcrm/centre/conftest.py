import pytest

from hcrm.core.work import Work
from tests.support.builders import publish_form, publish_rules


@pytest.fixture
def definitions(work: Work) -> None:
    """The rules and the form of the builders; each test publishes its own protocols."""
    publish_rules(work)
    publish_form(work)
