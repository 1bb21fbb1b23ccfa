"""Names and numbers as text: what nobody sees is left out, and what is masked is masked as people here write it."""

import pytest

from hcrm.archive.names.tokens import fold_name
from hcrm.core.text import clean_id_number, clean_name, clean_phone, mask_phone, sent_name

UNSEEN = "\u200b\ufeff\u200d\u202e\u00ad\u2060"


def test_signs_nobody_sees_are_left_out_of_names_and_numbers():
    assert clean_name(f"{UNSEEN}张{UNSEEN}晋{UNSEEN}") == "张晋"
    assert clean_name(UNSEEN) == ""
    assert sent_name("张\u200b晋") == "张\u200b晋"  # a sender's name is kept as it was sent
    assert fold_name("张\u200b晋") == fold_name("张晋")
    assert clean_name("Ｗang\u200b Min") == "Wang Min"
    assert clean_phone(f"138{UNSEEN}00138000") == "+8613800138000"
    assert clean_id_number(f"\u202a11010519491231002x{UNSEEN}") == "11010519491231002X"


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("13800138000", "138****8000"), ("+8613800132460", "138****2460"), ("010-62772460", "010****2460"),
        ("0571-87652460", "0571****2460"), ("400-820-2460", "400****2460"), ("12345", "***45"),
        ("+852 2123 2460", "+85****2460"),
    ],
)  # fmt: skip
def test_a_number_is_masked_as_it_is_dialled_in_this_country(number, masked):
    assert mask_phone(clean_phone(number)) == masked
