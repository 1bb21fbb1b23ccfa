"""What shows several parts at once: the patient page, search, and the FHIR interface over all of them.

`fhir_api.bp` answers FHIR R4B reads and searches for machine clients; `capability.capability_statement` says which.
"""
