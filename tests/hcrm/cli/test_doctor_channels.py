"""`hcrm doctor` names a certificate that ends soon, a folder nobody can write to, a view nobody can read."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from hcrm.app.processes import serve
from hcrm.cli import doctor_channels
from hcrm.cli.doctor_channels import check_certificates, check_channels
from hcrm.core.errors import HcrmError
from hcrm.core.settings import Mllp, load_settings
from hcrm.core.sources import load_sources
from hcrm.inbox.turns import take_turn
from tests.support.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def tls(authority: Authority, name: str, **how) -> Mllp:
    made = authority.sign(f"/CN={name}.example", **how)
    return Mllp(tls_cert=str(made.certificate), tls_key=str(made.key), tls_ca=str(authority.certificate))


def test_a_certificate_with_months_to_go_is_well(authority):
    check_certificates(tls(authority, "long", days=90))
    check_certificates(Mllp())


@pytest.mark.parametrize(
    ("name", "how", "word"), [("soon", {"days": 10}, "将于"), ("old", {"expired": True}, "已于")]
)
def test_a_certificate_that_ends_within_a_month_is_named(authority, name, how, word):
    with pytest.raises(HcrmError, match=f"CN={name}.example.*{word}") as told:
        check_certificates(tls(authority, name, **how))
    assert told.value.code == "mllp.tls_expiry"


def test_the_authority_of_the_peers_counts_too(authority):
    in_ten_years = datetime.now(UTC) + timedelta(days=3640)
    with pytest.raises(HcrmError, match="Test CA"):
        check_certificates(tls(authority, "ten", days=3660), now=in_ten_years)


def test_a_service_with_a_wrong_certificate_does_not_start(database_url, tmp_path, authority):
    mllp = {"tls_cert": str(tmp_path / "none.crt"), "tls_key": str(tmp_path / "none.key")}
    settings = load_settings(db={"url": database_url}, mllp=mllp)
    with pytest.raises(HcrmError, match="TLS"):
        serve(settings, http="", mllp="127.0.0.1:0", only=("listener",))


@pytest.fixture
def settings_with(database, database_url, tmp_path, monkeypatch):
    """Settings of an installation with these sources; keywords are blocks of the one source."""

    def make(**blocks):
        folder = tmp_path / "sources"
        folder.mkdir(exist_ok=True)
        (folder / "his.yaml").write_text(
            yaml.safe_dump(
                {"code": "his", "title": "HIS", "sender": "HIS", "default_authority": "H1", **blocks}
            )
        )
        monkeypatch.setattr(doctor_channels, "open_sources", lambda _: load_sources(folder))
        monkeypatch.setattr(doctor_channels, "open_database", lambda _: database)
        return load_settings(db={"url": database_url})

    return make


def test_folders_and_views_that_work_are_well(settings_with, tmp_path):
    (tmp_path / "drop").mkdir()
    check_channels(settings_with(folder={"path": str(tmp_path / "drop")}))


def test_what_cannot_be_fetched_is_named_without_a_password(settings_with, tmp_path, monkeypatch):
    monkeypatch.setenv("HIS_PASSWORD", "Secret-2026")
    view = {"url": "postgresql://u@127.0.0.1:1/his", "password_env": "HIS_PASSWORD", "name": "v", "watermark": "t",
            "key": ["k"], "columns": {"patient_no": "p"}}  # fmt: skip
    with pytest.raises(HcrmError, match=r"文件夹不存在或不可写.*视图：连不上数据库主机") as told:
        check_channels(settings_with(folder={"path": str(tmp_path / "none")}, view=view))
    assert "Secret" not in told.value.message


def test_a_list_for_the_comparison_that_cannot_be_reached_is_named(settings_with, tmp_path):
    columns = {"patient_no": "p", "visit_no": "v", "discharged_at": "d"}
    (tmp_path / "lists").mkdir()
    check_channels(
        settings_with(census={"file": {"path": str(tmp_path / "lists/%Y%m%d.csv")}, "columns": columns})
    )
    with pytest.raises(HcrmError, match="对账名单所在的文件夹不存在"):
        check_channels(
            settings_with(census={"file": {"path": str(tmp_path / "none/%Y%m%d.csv")}, "columns": columns})
        )
    view = {"url": "postgresql://u@127.0.0.1:1/his", "name": "v_list", "day": "day"}
    with pytest.raises(HcrmError, match="对账名单：连不上数据库主机"):
        check_channels(settings_with(census={"view": view, "columns": columns}))


def test_the_fault_of_the_last_turn_is_named(settings_with, tmp_path, database, clock):
    (tmp_path / "drop").mkdir()
    turn = take_turn(database, clock, source="his", channel="folder", owner="one")
    assert turn is not None
    turn.end("inbox.full")
    with pytest.raises(
        HcrmError,
        match=r"来源 his 的 folder 上次（11-22 10:00）出错：等待处理的消息过多或磁盘将满（inbox\.full）",
    ):
        check_channels(settings_with(folder={"path": str(tmp_path / "drop")}))
