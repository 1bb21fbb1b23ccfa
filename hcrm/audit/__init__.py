"""Who saw or changed what: one append-only log, written by one function (`service.record_audit`)."""
