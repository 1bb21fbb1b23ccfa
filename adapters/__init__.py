"""Everything that speaks another system's language; hands over plain records, never writes the archive."""
