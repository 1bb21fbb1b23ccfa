"""Archive fields as data, allergies, notes and tags: what people write beside what messages tell."""
