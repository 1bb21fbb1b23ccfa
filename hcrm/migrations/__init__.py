"""Alembic revisions; each runs beside the previous release."""
