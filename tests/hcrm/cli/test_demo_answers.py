"""What the demo's patients answer could have been said by one."""

import random

import pytest

from hcrm.cli.demo_answers import AnswerSets
from hcrm.core.definition_file import load_definitions
from hcrm.core.paths import config_path
from hcrm.forms.answers import read_answers
from hcrm.forms.definition import Questionnaire
from hcrm.forms.scoring import raise_flags

FORMS = load_definitions(Questionnaire, config_path("forms"))


@pytest.fixture(params=FORMS, ids=lambda form: form.code)
def form(request):
    return request.param


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alarming", [False, True])
def test_the_lower_pressure_is_thirty_to_sixty_below_the_upper(form, seed, alarming):
    answers = AnswerSets(form, random.Random(seed))

    for _ in range(40):
        drawn = answers.draw(alarming=alarming)
        if "systolic" in drawn:
            assert 29 <= float(drawn["systolic"]) - float(drawn["diastolic"]) <= 61
        assert float(drawn.get("ldl", 1)) < 3
        assert float(drawn.get("hba1c", 6)) < 10


def test_quiet_answers_raise_nothing_and_alarming_ones_do(form):
    answers = AnswerSets(form, random.Random(7))

    for alarming in (False, True):
        for _ in range(40):
            read = read_answers(form, answers.draw(alarming=alarming))
            assert not read.errors
            assert bool(raise_flags(form, read.values)) == alarming
