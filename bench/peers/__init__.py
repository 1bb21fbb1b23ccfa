"""The peers: each library's own MLLP server, storing one row per message durably before it answers.

All of them write the same table (`store.SCHEMA`) with SQLite in WAL mode, synchronous=FULL, and commit once per
message, because each library's handler returns one reply for one message: that is their shape, not our tuning.
"""
