"""Where we send to, as files describe it: read strictly, a mistake stops the start."""

import pytest

from hcrm.core.destinations import Destinations, load_destinations
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path

GOOD = "code: his\ntitle: HIS\nhost: 10.1.2.3\nport: 6661\n"


@pytest.fixture
def load(tmp_path):
    def read(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        return load_destinations(tmp_path)

    return read


def test_without_a_folder_nobody_is_told_anything(tmp_path):
    assert not load_destinations(tmp_path / "nowhere")
    assert not load_destinations(config_path("destinations"))  # as shipped


def test_a_file_is_a_destination_that_wants_follow_ups(load):
    found = load(his=GOOD)

    assert [each.code for each in found.wanting("follow_up")] == ["his"]
    assert (found.by_code["his"].version, found.by_code["his"].charset) == ("2.5.1", "utf-8")


def test_one_that_wants_nothing_is_told_nothing(load):
    assert load(his=GOOD + "wants: []\n").wanting("follow_up") == []


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("prot: 1", "prot"),
        ("version: '2.9'", "version"),
        ("charset: big5", "charset"),
        ("zone: Mars/Base", "zone"),
        ("wants: [bookings]", "wants"),
        ("answer_seconds: 600", "answer_seconds"),
        ("receiving_application: A|B", "receiving_application"),
        ("sending_application: 医院", "sending_application"),
        ("tls: {certificate_file: a.pem}", "tls"),
        ("tls: {ca_file: /nowhere/ca.pem}", "tls"),
        ("port: 70000", "port"),
        ("code: [", "his.yaml"),
    ],
)
def test_a_mistake_is_said_with_file_and_field(load, line, place):
    with pytest.raises(HcrmError) as refused:
        load(
            his="\n".join(row for row in GOOD.splitlines() if row.split(":")[0] != line.split(":")[0])
            + f"\n{line}\n"
        )

    assert "his.yaml" in refused.value.message
    assert place in refused.value.message


def test_a_code_used_twice_is_refused(load):
    with pytest.raises(HcrmError, match="已用过"):
        load(a=GOOD, b=GOOD)


def test_an_empty_list_is_false():
    assert not Destinations()
