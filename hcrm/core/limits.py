"""Every size, depth, rate and time-out in one place; `hcrm limits` prints them, tests assert them."""

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""One MLLP frame or HTTP body; assurance A7."""
FRAME_GAP_SECONDS = 10.0
"""Silence allowed inside a frame."""
FRAME_SECONDS = 60.0
"""A whole frame, first byte to last."""
IDLE_SECONDS = 300.0
"""A connection on which nothing is said."""
CONNECTIONS_PER_ADDRESS = 8
"""MLLP connections from one address; `mllp.connections_per_address` raises it for a busy engine (C10)."""
CONNECTIONS_TOTAL = 200
"""MLLP connections at all."""
WRITE_SECONDS = 10.0
"""A peer that does not read its ACK is left."""
MAX_KEY_LENGTH = 255
"""Characters of a number, code or name that is searched for; longer ones park their message `budget`."""
MAX_KEYS = 1_000
"""Such keys in one message; more park it `budget` (C15)."""
MAX_CONTROL_ID = 199
"""Characters of MSH-10 (HL7 2.9 section 2.14.9.10 allows 199)."""
MAX_BATCH_MESSAGES = 2_000
"""Messages in one FHS/BHS batch frame."""
COMMIT_BATCH = 512
"""Messages the committer stores in one transaction."""
PENDING_LIMIT = 100_000
"""Messages waiting for the worker before the listener stops reading (A8)."""
APPLY_BATCH = 500
"""Messages a worker absorbs in one transaction."""
BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of messages a worker takes up, or absorbs, in one transaction: SQLite has one writer, and pages wait for it."""
APPLY_ATTEMPTS = 5
"""Tries of one message before it is parked (A9)."""
HOLD_SECONDS = 24 * 3600
"""A cancel whose event is not known yet waits this long, then it is parked."""
LANES = 64
"""Lanes that keep the order of one patient's messages."""
EVENT_BATCH = 500
"""Stored events a handler receives in one work."""
EVENT_ATTEMPTS = 5
"""Tries of one event before its delivery is parked."""
EVENT_RETRY_SECONDS = 5.0
"""An event that failed rests this long before its next try: parked, with its reason, within 60 s (A9)."""
FUTURE_TOLERANCE_SECONDS = 600
"""A sender's clock may be this far ahead before it is clamped (truth table, clocks)."""
MAX_CONTACT_POINTS = 5
"""Numbers kept of one patient (C21)."""
SQLITE_BUSY_SECONDS = 5.0
"""`busy_timeout` of web and listener."""
SQLITE_BUSY_JOB_SECONDS = 30.0
"""`busy_timeout` of workers, jobs and commands."""
STATEMENT_SECONDS = 15.0
"""One statement of web or listener on PostgreSQL."""
STATEMENT_JOB_SECONDS = 600.0
"""One statement of a worker, job or command on PostgreSQL; a migration's may take any time."""
PENDING_SECONDS = 5.0
"""The listener's wait for how much is waiting; after it, what it knew stands."""
PAGE_SIZE = 50
"""Rows of a list page."""
FHIR_PAGE_SIZE = 50
"""Entries of a FHIR search page unless `_count` says otherwise."""
FHIR_MAX_PAGE_SIZE = 200
"""Highest `_count` (C27)."""
SESSION_IDLE_SECONDS = 15 * 60
"""A console session nobody touches (W2)."""
SESSION_SECONDS = 12 * 3600
"""A console session at all (W2)."""
LOGIN_TRIES = 5
"""Wrong passwords per account within LOGIN_WINDOW_SECONDS before answers are delayed (W2)."""
LOGIN_WINDOW_SECONDS = 15 * 60
"""See LOGIN_TRIES."""
ADDRESS_LOGIN_TRIES = 30
"""Wrong passwords per address within LOGIN_WINDOW_SECONDS."""
LOGIN_DELAY_SECONDS = 15.0
"""First delay after too many wrong passwords; it doubles with every further one."""
LOGIN_DELAY_MAX_SECONDS = 15 * 60.0
"""Longest delay; an account is never locked for good (W2)."""
PASSWORD_MIN = 8
"""Characters of a password."""
PASSWORD_MAX = 128
"""Characters of a password; hashing more would be work for whoever asks."""
TOUCH_SECONDS = 60.0
"""How often the last use of a session or token is noted."""
KEPT_FIELDS = 300
"""Fields of a form that are carried over an ended session."""
READY_FREE_BYTES = 1024**3
"""Free disk below which we are not ready (A8)."""
READY_LAG_SECONDS = 300.0
"""Age of the oldest message waiting for the worker above which we are not ready."""
COMMIT_BYTES = 4 * 1024 * 1024
"""Bytes the committer stores in one transaction, one message at least."""
LISTENER_BYTES = 16 * 1024 * 1024
"""Bytes of unfinished and uncommitted frames held over all MLLP connections before large ones wait (A7)."""
LISTENER_SHARE_BYTES = 64 * 1024
"""A connection that holds less than this never waits for LISTENER_BYTES, so small messages always get through."""
PIPELINED_ORDERS = 16
"""Reads of one connection whose frames may wait for their commit before we stop reading it."""
MAX_JUNK_BYTES = 64 * 1024
"""Bytes outside any frame before the connection is closed."""
FRAME_END_SECONDS = 0.2
"""An end block without its carriage return counts as the end after this silence (C6)."""
LINGER_SECONDS = 1.0
"""A connection we end is still read, and nothing of it kept, until the peer has had our last answer."""
STOP_SECONDS = 10.0
"""The listener's wait for its last commits when told to stop; the process ends within 15 s (X3)."""
FHIR_SEARCH_VALUES = 100
"""Values of one FHIR search, those between commas counted; more is a bulk export (C27)."""
FHIR_VALUE_LENGTH = 8_000
"""Characters of one FHIR search parameter."""
