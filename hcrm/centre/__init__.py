"""The service centre: sorts each stay, issues follow-up instructions by protocol and watches over them.

Pure parts: `facts.StayFacts` is what is known of a stay, `classification_rules.classify` sorts it by specialty,
disease and region, `protocols.Protocols.applying_to` tells which protocols it enters.
"""
