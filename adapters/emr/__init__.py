"""EMR side: FHIR resources to records and back."""
