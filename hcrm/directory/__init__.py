"""The hospital's own directory: departments, practitioners, specialties and regions."""
