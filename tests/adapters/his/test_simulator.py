"""The simulated hospital: the same bytes for the same seed, and nothing a clinician or a HIS would not do."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from adapters.his.simulator import Shares, SimulatedMessage, Simulator, load_hospital
from adapters.his.simulator.conditions import KINDS, Casebook
from adapters.his.simulator.hospital import load_data
from adapters.his.simulator.people import check_digit
from tests.support.simulated import START, segments

UNDISTURBED = Shares(resent=0, out_of_order=0)


def record_and_id_number(message: SimulatedMessage) -> tuple[str, str]:
    repeats = segments(message, "PID")[0][3].split("~")
    return repeats[0].split("^")[0], repeats[1].split("^")[0] if len(repeats) > 1 else ""


def age(message: SimulatedMessage) -> float:
    born = datetime.strptime(segments(message, "PID")[0][7], "%Y%m%d").date()  # noqa: DTZ007  # a birth date
    return (message.at.date() - born).days / 365.25


def sent_at(message: SimulatedMessage) -> str:
    return segments(message, "MSH")[0][6]


@pytest.fixture(scope="module")
def year() -> list[SimulatedMessage]:
    """The year of the demonstration, as it arrives."""
    return list(Simulator(1, START, 365, 3000).messages())


@pytest.fixture(scope="module")
def quiet_year() -> list[SimulatedMessage]:
    """A year of another seed without resends and late messages."""
    return list(Simulator(2, START, 365, 1200, shares=UNDISTURBED).messages())


# ── one seed, one hospital ──────────────────────────────────────────────────


def test_the_same_arguments_give_the_same_bytes() -> None:
    simulator = Simulator(7, START, 20, 150)
    first = list(simulator.messages())

    assert first == list(simulator.messages())
    assert first == list(Simulator(7, START, 20, 150).messages())
    assert first != list(Simulator(8, START, 20, 150).messages())


def test_messages_come_in_order_of_arrival_within_the_days_asked_for(year: list[SimulatedMessage]) -> None:
    moments = [message.at for message in year]

    assert moments == sorted(moments)
    assert moments[0].date() == START
    assert START + timedelta(days=364) <= moments[-1].date() <= START + timedelta(days=365)


def test_a_hospital_has_twelve_departments_and_sixty_physicians_each_department_one_head() -> None:
    hospital = load_hospital()

    assert len(hospital.departments) == len({department.code for department in hospital.departments}) == 12
    assert len({physician.code for physician in hospital.physicians}) == 60
    assert len({physician.name for physician in hospital.physicians}) == 60
    assert all([each.is_head for each in staff].count(True) == 1 for staff in hospital.staff.values())
    assert all(department.wards and department.specialty for department in hospital.departments)


@pytest.mark.parametrize(
    "number",
    ["990101199001010019", "990101199001010027", "990101196002290063", "99010119850610004X"],
)
def test_the_check_digit_is_that_of_gb_11643(number: str) -> None:
    assert check_digit(number[:17]) == number[17]


def test_identity_numbers_are_right_impossible_and_nobody_elses(year: list[SimulatedMessage]) -> None:
    numbers: dict[str, str] = {}
    for message in year:
        record, number = record_and_id_number(message)
        if number and not record.startswith("9"):  # a second registration has the number of the first
            assert numbers.setdefault(number, record) == record
            pid = segments(message, "PID")[0]
            assert number[:2] == "99"  # no province has that code
            assert number[6:14] == pid[7]
            assert int(number[16]) % 2 == (pid[8] == "M")
            assert check_digit(number[:17]) == number[17]

    assert 2700 < len(numbers) < 3000


def test_some_patients_share_a_telephone_and_all_numbers_have_the_form_of_one(
    year: list[SimulatedMessage],
) -> None:
    owners = defaultdict(set)
    for message in year:
        for number in segments(message, "PID")[0][13].split("~"):
            text = number.split("^")[0]
            assert (len(text) == 11 and text[0] == "1") or text.startswith("0571-8")
            owners[text].add(message.patient[-7:])

    assert sum(len(patients) > 1 for patients in owners.values()) > 50
    assert max(map(len, owners.values())) == 2


# ── what a HIS may say ──────────────────────────────────────────────────────


def test_a_visit_is_opened_before_it_is_closed_and_closed_before_that_is_taken_back(
    quiet_year: list[SimulatedMessage],
) -> None:
    allowed = {
        "": {"A01", "A04"},
        "in": {"A08", "A03", "A11"},
        "out": {"A13"},
        "seen": {"A08"},
        "cancelled": set(),
    }
    after = {"A01": "in", "A04": "seen", "A03": "out", "A13": "in", "A11": "cancelled"}
    state: defaultdict[str, str] = defaultdict(str)
    for message in quiet_year:
        if message.visit:
            assert message.event in allowed[state[message.visit]]
            state[message.visit] = after.get(message.event, state[message.visit])

    assert set(state.values()) == {"in", "out", "seen", "cancelled"}


def test_a_patient_is_registered_before_anything_else_is_said_of_them(
    quiet_year: list[SimulatedMessage],
) -> None:
    seen = set()
    for message in quiet_year:
        assert message.event == "A28" or message.patient in seen
        seen.add(message.patient)


def test_nothing_follows_a_death(quiet_year: list[SimulatedMessage]) -> None:
    dead = set()
    for message in quiet_year:
        assert message.patient not in dead
        pid = segments(message, "PID")[0]
        if pid[30:31] == ["Y"]:
            assert message.event == "A03"
            assert segments(message, "PV1")[0][36] == "5"
            dead.add(message.patient)

    assert dead


def test_a_merge_names_both_numbers_and_the_retired_one_is_not_used_again(
    quiet_year: list[SimulatedMessage],
) -> None:
    retired: set[str] = set()
    used: set[str] = set()
    for message in quiet_year:
        assert message.patient not in retired
        used.add(message.patient)
        if message.event == "A40":
            old = segments(message, "MRG")[0][1].split("^")[0]
            assert old in used
            assert old != message.patient
            retired.add(old)

    assert retired


def test_one_stay_at_a_time(quiet_year: list[SimulatedMessage]) -> None:
    inside: dict[str, str] = {}
    for message in quiet_year:
        if message.event in ("A01", "A04"):
            assert message.patient[-7:] not in inside
        if message.event in ("A01", "A13"):
            inside[message.patient[-7:]] = message.visit
        if message.event in ("A03", "A11"):
            del inside[message.patient[-7:]]


def test_control_ids_are_unique_and_resent_messages_are_identical(year: list[SimulatedMessage]) -> None:
    by_control_id: dict[str, bytes] = {}
    for message in year:
        before = by_control_id.setdefault(segments(message, "MSH")[0][9], message.raw)
        assert before == message.raw

    assert 0.004 < 1 - len(by_control_id) / len(year) < 0.011


def test_a_few_messages_are_overtaken_by_the_next_of_their_patient(
    year: list[SimulatedMessage], quiet_year: list[SimulatedMessage]
) -> None:
    def overtaken(messages: Iterable[SimulatedMessage]) -> int:
        latest: dict[str, str] = {}
        found = 0
        for message in {message.raw: message for message in messages}.values():  # resent ones once
            found += sent_at(message) < latest.get(message.patient, "")
            latest[message.patient] = max(sent_at(message), latest.get(message.patient, ""))
        return found

    assert overtaken(quiet_year) == 0
    assert 0.003 < overtaken(year) / len(year) < 0.02


def test_one_of_each_kind_is_valid_in_version_2_4() -> None:
    kinds: dict[tuple[str, ...], SimulatedMessage] = {}
    for message in Simulator(1, START, 120, 900).messages():
        names = tuple(dict.fromkeys(line[:3] for line in message.raw.decode().split("\r") if line))
        kinds.setdefault((message.event, *names), message)
    assert {kind[0] for kind in kinds} == {"A01", "A03", "A04", "A08", "A11", "A13", "A28", "A31", "A40"}

    for kind, message in kinds.items():
        text = message.raw.decode()
        flat = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False)
        assert tuple(dict.fromkeys(segment.name for segment in flat.children)) == kind[1:]
        assert flat.msh.msh_9.to_er7() == f"ADT^{kind[0]}^{flat.name}"
        grouped = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT)
        assert grouped.validate()


def test_the_old_his_writes_gb18030_and_says_so() -> None:
    messages = list(Simulator(3, START, 60, 600, shares=Shares(second_sender=0.3)).messages())
    senders = Counter()
    for message in messages:
        head = message.raw.split(b"\r")[0].split(b"|")
        charset = {b"UNICODE UTF-8": "utf-8", b"GB 18030-2000": "gb18030"}[head[17]]
        assert message.raw.decode(charset).encode(charset) == message.raw
        assert (head[2] == b"HIS2") == (charset == "gb18030")
        senders[head[2]] += 1

    assert 0.2 < senders[b"HIS2"] / len(messages) < 0.4
    assert len({(message.patient, message.raw.split(b"|")[2]) for message in messages}) == len(
        {message.patient for message in messages}
    )


def test_malformed_messages_have_no_pid_and_come_only_when_asked_for(year: list[SimulatedMessage]) -> None:
    spoilt = list(Simulator(3, START, 60, 600, shares=Shares(malformed=0.01)).messages())

    assert 0.003 < sum(not segments(message, "PID") for message in spoilt) / len(spoilt) < 0.02
    assert all(segments(message, "PID") for message in year)


# ── what a clinician believes ───────────────────────────────────────────────


def test_every_age_and_sex_has_something_to_come_for_as_each_kind_of_patient() -> None:
    casebook = Casebook(load_hospital())
    ages = [day / 365.25 for day in range(1200)] + list(range(3, 100))

    missing = [
        (sex, years, kind)
        for sex in "MF"
        for years in ages
        for kind in KINDS
        if not any(condition.fits(sex, years, kind) for condition in casebook.conditions)
    ]

    assert missing == []


def test_diagnoses_fit_sex_and_age(year: list[SimulatedMessage]) -> None:
    counted = Counter()
    for message in year:
        pid = segments(message, "PID")[0]
        for diagnosis in segments(message, "DG1"):
            code = diagnosis[3].split("^")[0]
            counted[code[0]] += 1
            if code[0] == "O" or code[:3] in ("Z37", "C53", "C56", "D25", "N76", "N93", "N95", "N97"):
                assert pid[8] == "F"
            if code[0] == "O":
                assert 15 <= age(message) <= 50
            if code[:3] in ("C61", "N40"):
                assert pid[8] == "M"
                assert age(message) >= 50
            if code[0] == "P":
                assert age(message) < 0.25
            if code[0] == "C" or code[:2] == "I6":
                assert age(message) >= 18

    assert {"O", "P", "C", "I", "E", "S"} <= set(counted)


def test_a_patient_lies_in_the_department_that_treats_the_main_diagnosis(
    year: list[SimulatedMessage],
) -> None:
    casebook = Casebook(load_hospital())
    treats = {(condition.department, condition.code) for condition in casebook.conditions}
    works = {physician.code: physician.department_code for physician in load_hospital().physicians}
    for message in year:
        diagnoses = segments(message, "DG1")
        if diagnoses:
            pv1 = segments(message, "PV1")[0]
            department = pv1[3].split("^")[0]
            assert [diagnosis[15] for diagnosis in diagnoses] == ["1", "2", "3"][: len(diagnoses)]
            assert (department, diagnoses[0][3].split("^")[0]) in treats
            assert works[pv1[7].split("^")[0]] == department


def test_operations_lie_within_the_stay(year: list[SimulatedMessage]) -> None:
    operated = 0
    for message in year:
        if message.event == "A03":
            pv1 = segments(message, "PV1")[0]
            for operation in segments(message, "PR1"):
                assert pv1[44] < operation[5] < pv1[45]
                operated += 1

    assert operated > 500


def test_counts_are_near_the_distributions(year: list[SimulatedMessage]) -> None:
    messages = list({message.raw: message for message in year}.values())
    events = Counter(message.event for message in messages)
    stays: dict[str, float] = {}
    ways = Counter()
    for message in messages:
        if message.event == "A03":
            pv1 = segments(message, "PV1")[0]
            admitted, left = (datetime.strptime(pv1[field], "%Y%m%d%H%M%S") for field in (44, 45))  # noqa: DTZ007
            stays[message.visit] = (left - admitted).total_seconds() / 86400
            ways[pv1[36]] += 1
    inpatient_updates = sum(message.event == "A08" and message.visit[0] == "I" for message in messages)
    arrivals = [message for message in messages if message.event in ("A01", "A04")]
    weekend = sum(message.at.weekday() >= 5 for message in arrivals) / len(arrivals)
    children = {message.patient for message in arrivals if age(message) < 15}

    assert 1.6 < len(arrivals) / 3000 < 1.95
    assert 0.43 < events["A01"] / len(arrivals) < 0.55
    assert 5 < median(stays.values()) < 7
    assert 2.1 < inpatient_updates / events["A01"] < 2.9
    assert 0.008 < events["A11"] / events["A01"] < 0.022
    assert 0.01 < events["A13"] / events["A03"] < 0.03
    assert 0.002 < events["A40"] / 3000 < 0.007
    assert 0.004 < ways["5"] / ways.total() < 0.018
    assert set(ways) == {"1", "2", "3", "4", "5", "9"}
    assert 0.17 < len(children) / 3000 < 0.23
    assert 0.16 < weekend < 0.24  # 2 * 0.6 of 5 + 2 * 0.6


def test_no_text_of_the_data_holds_a_delimiter_of_its_own() -> None:
    def texts(data: object) -> Iterable[str]:
        if isinstance(data, dict):
            for key, value in data.items():
                yield from (str(key), *texts(value))
        elif isinstance(data, list):
            for value in data:
                yield from texts(value)
        else:
            yield str(data)

    found = [
        text
        for name in ("hospital.yaml", "people.yaml", "conditions.yaml")
        for text in texts(load_data(name))
        if set(text) & set("|~\\&\r\n")
    ]

    assert found == []
