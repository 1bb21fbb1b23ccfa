"""Every job, its time and its function, on one page."""

from collections.abc import Callable
from dataclasses import dataclass

from hcrm.centre.jobs import expire_instructions
from hcrm.core.work import Work
from hcrm.inbox.service import park_expired_holds


@dataclass(frozen=True, slots=True)
class Job:
    """A function that is run at certain times, again and again until it says that it touched none.

    `cron` is (minute, hour, day, month, weekday by name) on the hospital's clock. Every job here goes by what stands
    in the database, not by when it runs, so after downtime only its latest due instant is caught up.
    """

    name: str
    title: str
    cron: str
    function: Callable[[Work], int]


JOBS = (
    Job("instructions.expire", "随访指令到期关闭", "5 0 * * *", expire_instructions),
    Job("inbox.park_holds", "等待超时的接口消息转搁置", "*/10 * * * *", park_expired_holds),
)
