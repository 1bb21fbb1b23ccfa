"""Finding patients: one box, filters, pages that cost the same wherever they stand."""
