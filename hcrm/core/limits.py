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
EVENT_CROSSED_ATTEMPTS = 3
"""Tries at once of an event whose work met another's (a deadlock); the last counts as one that failed."""
FUTURE_TOLERANCE_SECONDS = 600
"""A sender's clock may be this far ahead before it is clamped (truth table, clocks)."""
MAX_CONTACT_POINTS = 5
"""Numbers kept of one patient (C21)."""
ENTERED_PEOPLE = 10
"""Relatives, and addresses, entered by hand of one patient."""
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
FIELD_VALUES = 50
"""Values one field of a patient may hold at once."""
FIELD_TEXT = 500
"""Characters of such a value, and of what is said beside it."""
OWN_FIELDS = 100
"""Fields a hospital may add to those that are shipped."""
TAG_LENGTH = 20
"""Characters of a tag."""
PATIENT_TAGS = 30
"""Tags of one patient."""
NOTE_LENGTH = 2_000
"""Characters of a note on a patient."""
NOTE_EDIT_SECONDS = 10 * 60
"""How long its author may edit a note; after that it can only be struck out."""
CARE_BATCH = 2_000
"""Patients the nightly search for who has no next step looks at in one work."""
COUNTED = 9_999
"""Rows of such a list that are counted; more are said to be more."""
PAGE_SIZE = 50
"""Rows of a list page."""
SEARCH_WORDS = 64
"""Characters of a search for patients; longer ones are refused, not cut (C58)."""
KEPT_SEARCHES = 60
"""Searches a session can come back to by Back or a reload; while one types, each pause counts (ADR 0012)."""
SEARCH_SMALL = 4_000
"""A set of so many stays or names is read whole; a larger one is walked in the order of the list."""
SEARCH_LARGE = 15_000
"""A set of so many is read whole where more is asked of it than its index knows."""
NAME_SPELLINGS = 16
"""Readings of one name that are kept, the surname's first."""
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
SEGMENT_GROUPS = 10
"""Groups of one segment's filter."""
SEGMENT_LINES = 30
"""Lines of one group."""
SEGMENT_VALUE = 500
"""Characters of one value of a line."""
SEGMENT_COUNT_SECONDS = 2.0
"""A count while editing gives up after this and is offered as a button."""
SEGMENT_CALCULATE_SECONDS = 25.0
"""A count that somebody asked for gives up after this."""
SEGMENT_COUNT_MINUTES = 60
"""A saved segment is counted again after so long."""
SEGMENTS_COUNTED = 20
"""Segments one run of the job counts."""
SEGMENT_WALK = 5_000
"""Patients a page of a segment is looked for among, in its order, before those that fit are all looked up."""
SEGMENT_SAMPLE = 20
"""Patients shown beside a count."""
RULES_TEXT = 200_000
"""Characters of one file of classification rules; the shipped ones have 20,000."""
RULES_VERSIONS = 50
"""Versions of the rules of one axis that its page lists."""
CLASSIFY_BATCH = 500
"""Visits one transaction sorts, compares or takes back when rules have changed."""
PROFILE_BATCH = 1_000
"""Patients whose flat rows one transaction makes anew."""
CHECK_FILE_BYTES = 64 * 1024 * 1024
"""Largest file of `hcrm hl7 check` and `hcrm source check`."""
CHECK_PROBES = 5_000
"""Values of one message that `hcrm source check` follows into the archive; further ones are not looked at."""
SHOWN_SEGMENTS = 500
"""Segments of one message on its page."""
SHOWN_CHARACTERS = 2_000
"""Characters of one field or segment there."""
TEST_PATIENT_RULES = 100
"""Patterns of names, and ranges of record numbers, of the rules for test patients."""
TEST_RULE_TOLD_FROM = 10
"""Whoever sees no patient is told how many archives a rule for test patients fits from so many on: few name people."""
TEST_PATIENTS_AT_ONCE = 20_000
"""Archives that new rules for test patients may change in one act; more is a rule that is too wide."""
STREAMED_ROWS = 5_000
"""Rows fetched at a time where a whole table is read."""
PAIR_BLOCK = 50
"""Archives that may share a phone, an ID number, or birth date and sound of the name, before it leads nowhere."""
PAIR_BATCH = 500
"""Archives one batch of the search for pairs compares with their neighbours."""
PAIR_SETTLE_SECONDS = 120
"""A change is this old before pairs of its archive are looked for: every earlier transaction has ended by then."""
PAIR_SCAN_SECONDS = 60.0
"""One run of that search; the next goes on."""
PAIR_TURN_SECONDS = 30.0
"""So long a search through all archives may keep the scheduler's other jobs waiting, once a minute."""
PAIR_LEASE_SECONDS = 120
"""A process that searches all archives and says nothing for so long is taken to be dead; another goes on."""
MERGES_BY_HAND_PER_HOUR = 20
"""Merges one person may make within an hour; more wait, as those of a sender do (C23)."""
SIMILAR_SHOWN = 5
"""Archives shown as similar while a new one is typed."""
MAX_UPLOAD_BYTES = 10 * 1024 * 1024
"""A list uploaded in the console (W7)."""
MAX_UPLOAD_UNPACKED = 50 * 1024 * 1024
"""Such a workbook unpacked (W7): some 50,000 rows of a dozen columns; a longer list comes as CSV."""
MAX_UPLOAD_PARTS = 200
"""Parts of such a workbook (W7)."""
MAX_UPLOAD_COLUMNS = 200
"""Columns of it that are read."""
MAX_UPLOAD_CELL = 10_000
"""Characters of a cell that are read."""
IMPORT_BATCH = 500
"""Rows of an import one transaction checks, writes or reverts: SQLite has one writer, and pages wait for it."""
IMPORT_PAUSE_SECONDS = 0.02
"""The rest between two such transactions."""
IMPORT_LEASE_SECONDS = 60.0
"""Who works on an import and says nothing for so long has lost it to another process."""
IMPORT_ATTEMPTS = 5
"""Tries of one batch before an import stops."""
IMPORT_KEEP_DAYS = 30
"""Rows of an import, its marked file and what reverts it are kept this long."""
IMPORT_UNFINISHED_DAYS = 7
"""An upload nobody went on with is removed after this."""
LISTED_STAFF = 2_000
"""Members of the staff a form offers to choose from."""
EXPORT_FREE_ROWS = 500
"""Rows one person takes out in `EXPORT_FREE_HOURS` without a second person (W6)."""
EXPORT_FREE_HOURS = 24
"""What was taken out so long ago no longer counts towards `EXPORT_FREE_ROWS`."""
EXPORT_BATCH = 500
"""Rows an export reads at once."""
EXPORT_TEXT = 200
"""Characters of a purpose, a reason or a note."""
EXPORT_KEEP_HOURS = 72
"""A file taken out can be fetched this long."""
EXPORT_WAIT_HOURS = 7 * 24
"""A request nobody decided is dropped after this."""
MAX_RECORDING_BYTES = 50 * 1024 * 1024
"""A recording of a contact."""
RECORDING_PRUNE_ROWS = 200
"""Recordings one turn of their retention removes."""
CONTACT_SINCE_YEAR = 2000
"""A contact logged by hand is not older."""
CONTACT_IMPORTED_SINCE_YEAR = 1970
"""Nor one a file tells of than this."""
CLOCK_TOLERANCE_SECONDS = 300
"""How far a person's clock may be ahead of ours; what it says then means now."""
CONTACT_LATE_MINUTES = 60
"""An entry written so much later than its contact says so."""
CONTACT_LOG_DAYS = 30
"""Days back the contact log shows unless asked for others."""
ROSTER_SHOWN = 1_000
"""Shifts or clinics one page shows of a week; beyond that a department must be chosen."""
DEATH_LIST_AT_ONCE = 200
"""Patients one list may note as dead unseen; beyond that a person confirms it: a wrong file is no catastrophe."""
DEATH_LIST_BATCH = 500
"""Lines of death lists one transaction looks at again."""
DEATH_LIST_FILES = 20
"""Files of the folder one turn takes in."""
DEATH_LIST_KEEP_DAYS = 400
"""People of a list without an archive here are forgotten after this."""
DEATH_LIST_RUNS = 14
"""Lists of late the page shows."""
DEATH_LIST_STILL_SECONDS = 60.0
"""A file of the drop folder that was written later than this may not be whole."""
