"""What other systems sent: stored before it is acknowledged, applied exactly once, replayable.

Public: `intake.Committer` (store and acknowledge), `service.process_messages` (take up and apply).
"""
