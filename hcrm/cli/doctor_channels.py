"""What `hcrm doctor` asks of the ways messages come on: TLS certificates, drop folders, views."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography import x509

from hcrm.app.role_listener import tls_of
from hcrm.core.actor import system_actor
from hcrm.core.channels import ReadOnlyView, View
from hcrm.core.clock import local_date, local_time
from hcrm.core.errors import HcrmError
from hcrm.core.runtime import open_database, open_sources
from hcrm.core.settings import Mllp, Settings
from hcrm.core.sources import Source
from hcrm.core.work import open_work
from hcrm.inbox.census_list import census_statement
from hcrm.inbox.polling import first_mark, open_view, page_of
from hcrm.inbox.turns import list_turns
from hcrm.inbox.view_faults import view_fault
from hcrm.inbox.words import channel_error

EXPIRING = timedelta(days=30)


def check_certificates(mllp: Mllp, *, now: datetime | None = None) -> None:
    """TLS can be spoken, and goes on for a month at least."""
    tls_of(mllp)
    faults = []
    for path in filter(None, (mllp.tls_cert, mllp.tls_ca)):
        try:
            found = x509.load_pem_x509_certificates(Path(path).read_bytes())
        except ValueError as error:
            raise HcrmError("mllp.tls", f"证书 {path} 无法读取") from error
        faults += [text for each in found if (text := _expiry(each, path, now or datetime.now(UTC)))]
    if faults:
        raise HcrmError("mllp.tls_expiry", "；".join(faults))


def _expiry(certificate: x509.Certificate, path: str, now: datetime) -> str:
    until = certificate.not_valid_after_utc
    if until - now >= EXPIRING:
        return ""
    name = certificate.subject.rfc4514_string()
    word = "已于" if until <= now else "将于"
    return f"证书 {path}（{name}）{word} {until:%Y-%m-%d} 到期"


def check_channels(settings: Settings) -> None:
    """Every folder can be worked in, every view can be read, and the last turn of each went well."""
    sources = open_sources(settings)
    faults = [fault for source in sources.by_code.values() for fault in _faults(source)]
    database = open_database(settings)
    try:
        with open_work(database, actor=system_actor("doctor"), write=False) as work:
            turns = list_turns(work)
    finally:
        database.dispose()
    for turn in turns:
        if turn.last_error and turn.last_run_at and turn.source in sources.by_code:
            when = f"{local_time(turn.last_run_at):%m-%d %H:%M}"
            faults.append(
                f"来源 {turn.source} 的 {turn.channel} 上次（{when}）出错：{channel_error(turn.last_error)}"
            )
    if faults:
        raise HcrmError("channels", "；".join(faults))


def _faults(source: Source) -> Iterator[str]:
    if source.folder is not None and not os.access(source.folder.path, os.R_OK | os.W_OK | os.X_OK):
        yield f"来源 {source.code} 的文件夹不存在或不可写"
    if source.view is not None and (fault := _view_fault(source.view)):
        yield f"来源 {source.code} 的视图：{fault}"
    census = source.census
    if census is not None and census.file is not None:
        folder = census.file.path_of(local_date(datetime.now(UTC))).parent
        if not os.access(folder, os.R_OK | os.X_OK):
            yield f"来源 {source.code} 的对账名单所在的文件夹不存在或不可读"
    if census is not None and census.view is not None:
        statement = census_statement(census, census.view, local_date(datetime.now(UTC))).limit(1)
        if fault := _unreadable(census.view, statement):
            yield f"来源 {source.code} 的对账名单：{fault}"


def _view_fault(view: View) -> str:
    return _unreadable(view, page_of(view.model_copy(update={"batch": 1}), first_mark(view), None))


def _unreadable(view: ReadOnlyView, statement: sa.Select[Any]) -> str:
    """Empty where a page can be read; never the text of an error, which may hold anything."""
    try:
        engine = open_view(view)
        try:
            with engine.connect() as connection:
                connection.execute(statement).first()
        finally:
            engine.dispose()
    except HcrmError as error:
        return error.message
    except sa.exc.SQLAlchemyError as error:
        return channel_error(view_fault(error))
    return ""
