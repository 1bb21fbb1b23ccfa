"""Who was contacted by whom (联系记录). Public: `service.record_contact`."""
