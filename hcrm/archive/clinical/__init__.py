"""Results, drugs, charges, documents, bookings: their words, records and tables."""
