"""HIS side: the MLLP listener, HL7 v2 to records, records to HL7 v2."""
