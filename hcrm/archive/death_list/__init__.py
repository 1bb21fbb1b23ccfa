"""Lists of the dead, as files, drop folders or views: read once each, before each day's first sending."""
