"""A hospital on a socket: a real listener, the worker's round on the test's clock, and the archive to look into."""

import contextlib
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Self

import sqlalchemy as sa

from hcrm.app.install import publish_shipped
from hcrm.app.wiring import handlers, intake
from hcrm.archive.models import (
    Address,
    Allergy,
    ContactPoint,
    IdentifierKind,
    Patient,
    PatientHistory,
    PatientIdentifier,
    PatientMerge,
    RelatedPerson,
)
from hcrm.archive.visit_models import Diagnosis, Encounter, Procedure, VisitEvent
from hcrm.centre.models import Instruction
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.core_definitions import Definition
from hcrm.core.db import Base, Database, table_of
from hcrm.core.delivery import deliver_events
from hcrm.core.settings import Settings
from hcrm.core.sources import Sources
from hcrm.core.work import Work, open_work
from hcrm.inbox.models import InboxApplication, InboxMessage
from hcrm.inbox.queries import is_idle
from hcrm.inbox.service import process_messages, replay_messages
from tests.support.listener import Peer, RunningListener, default_sources
