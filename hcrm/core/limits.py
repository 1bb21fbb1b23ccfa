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
HANDSHAKE_SECONDS = 10.0
"""A TLS handshake, first byte to last."""
HANDSHAKE_FAILURES = 20
"""Refused handshakes of one address in a minute, after which its connections are closed unread until it is over."""
WRITE_SECONDS = 10.0
"""A peer that does not read its ACK is left."""
MAX_FILE_BYTES = 64 * 1024 * 1024
"""A list of the day in a drop folder, as it lies there and unpacked; HL7 files are limited as frames are."""
MAX_LIST_ROWS = 200_000
"""Rows of such a list."""
MAX_LIST_COLUMNS = 1_000
"""Columns of a sheet that are read."""
SHEET_BYTES = 1024**3
"""Memory of the process that reads a sheet; a workbook of a kilobyte may ask for a terabyte."""
SHEET_SECONDS = 120
"""Its time on a processor."""
FILE_TRIES = 2
"""Times a file of a drop folder may end the process that reads it before it is put aside."""
CENSUS_DAYS = 7
"""Days back for which a comparison with a HIS's list that did not take place is made up for."""
CENSUS_SHARE = 0.5
"""A list with fewer stays than this share of the usual, or more than the usual divided by it, is not believed."""
CENSUS_USUAL = 20
"""Stays a usual day has before its share is judged; an empty list is never believed where we know of stays."""
CENSUS_RECHECK_SECONDS = 60
"""After the last row of a list was applied, the day is compared again."""
CENSUS_SETTLE_SECONDS = 900
"""A list whose file is still being written is no cause for alarm this long."""
CENSUS_ALARM_DAYS = 31
"""A day's findings keep their incident open this long, unless they are healed or explained."""
CENSUS_KEEP_DAYS = 400
"""Comparisons are kept this long."""
TURN_SECONDS = 300.0
"""Who collects from a folder or view and says nothing for this long has lost its turn to another process."""
CONNECT_SECONDS = 10.0
"""Connecting to the database of a view."""
XML_DEPTH = 64
"""Elements within elements of an envelope (C26)."""
XML_ELEMENTS = 20_000
"""Elements and attributes of an envelope."""
MAX_KEY_LENGTH = 255
"""Characters of a number, code or name that is searched for; longer ones park their message `budget`."""
MAX_KEYS = 1_000
"""Such keys in one message; more park it `budget` (C15)."""
MAX_CLINICAL_ROWS = 10_000
"""Results, notes, charges, orders and their parts in one message; more park it `budget` (C15)."""
MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
"""Text and decoded content of one document; longer ones park their message `budget`."""
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
UNREGISTERED_SENDERS = 5
"""Senders without a file at one address merge and delete at most so many times what one of them may."""
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
OUTBOUND_MAX_WAIT_SECONDS = 60.0
"""Longest `connect_seconds` and `answer_seconds` of a destination; its lease outlives both."""
OUTBOUND_LEASE_SECONDS = 300.0
"""A sender that says nothing for this long has lost its destination to another one."""
OUTBOUND_RETRY_SECONDS = 30.0
"""First pause after a message that was not answered or was answered AE; it doubles with every further try."""
OUTBOUND_RETRY_MAX_SECONDS = 3_600.0
"""Longest such pause."""
OUTBOUND_REFUSED_ATTEMPTS = 5
"""Tries of a message that is answered AE or CE before it has failed; AR and CR are never tried again."""
OUTBOUND_MUTE_ATTEMPTS = 3
"""Messages in a row that a destination left without an answer before it is let rest as a whole."""
OUTBOUND_LATE_SECONDS = 15 * 60
"""A message that waits longer for its destination opens an incident, unless the destination is paused."""
CHANNEL_FAILING_SECONDS = 5 * 60
"""A view or folder not read for so long opens an incident; one that was never read does at once."""
OUTBOUND_BUILD_BATCH = 20
"""Messages written in one transaction: hl7apy takes some 50 ms for each, and SQLite has one writer."""
OUTBOUND_ANSWER_BYTES = 64 * 1024
"""Longest answer read from a destination."""
OUTBOUND_KEEP_DAYS = 90
"""Delivered and stopped messages are kept this long; what is to be sent and what failed is never pruned."""
OUTBOUND_PRUNE_ROWS = 1_000
"""Messages one turn of that job removes."""
REFUSED_WORDS = 2_000
"""Newest refusals from which the filters of their list are made."""
FILTER_WORDS = 200
"""Choices of one filter of the message list, and senders probed for a control id."""
SEARCH_MESSAGES = 10_000
"""Messages a text search of the interface console decrypts, the newest of the chosen span."""
SEARCH_BYTES = 64 * 1024 * 1024
"""Bytes of them at most."""
SEARCH_FOUND = 500
"""Messages a search lists by their number; more are said to be left out."""
SPAN_ROOM = 10_000
"""Numbers a message may lie outside those of its time span, being committed out of turn."""
REPLAY_BATCH = 500
"""Messages one transaction of a bulk replay lets go their way again."""
REPLAY_WAITING = 10_000
"""Messages waiting for the worker above which a bulk replay rests: PENDING_LIMIT would stop the senders."""
CORRECTION_REASON = 200
"""Characters of why a message was corrected, and of a note on an incident."""
TRAFFIC_DAYS = 70
"""Days the counts of messages by source and five minutes are kept: what the watch for silence learns from."""
SILENCE_SECONDS = 15 * 60
"""A source quiet for less is not called silent, whatever was expected."""
SILENCE_MESSAGES = 10
"""Messages that must have been expected since the last one before a source is called silent; by chance 1 in 20,000."""
PARKED_SHARE = 0.2
"""Share of the last hour's messages of a source, parked, that opens an incident; half of it closes it."""
PARKED_MESSAGES = 20
"""Messages of the last hour below which no share is judged."""
UNKNOWN_EVENTS = 20
"""Unknown events of one source that get an incident of their own."""
PRUNE_BATCH = 200
"""Messages pruning looks at in one transaction."""
PRUNE_PAUSE_SECONDS = 0.05
"""Its rest between two, in which the listener stores what came."""
PRUNE_SECONDS = 60.0
"""One run of pruning; the next goes on."""
CHECK_FILE_BYTES = 64 * 1024 * 1024
"""Largest file of `hcrm hl7 check` and `hcrm source check`."""
CHECK_PROBES = 5_000
"""Values of one message that `hcrm source check` follows into the archive; further ones are not looked at."""
SHOWN_SEGMENTS = 500
"""Segments of one message on its page."""
SHOWN_CHARACTERS = 2_000
"""Characters of one field or segment there."""
