"""Archives that may be one person: found, compared, merged, kept apart."""
