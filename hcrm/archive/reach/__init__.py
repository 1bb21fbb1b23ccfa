"""How a patient is reached and whether they may be: numbers, relatives, consents, ends of contact, disclosure."""
