"""The archive's own importers of files."""
