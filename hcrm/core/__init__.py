"""What every package stands on: unit of work, time, ids, errors, settings, keys. Knows no other package."""
