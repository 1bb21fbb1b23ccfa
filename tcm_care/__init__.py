"""TCM health care (治未病): constitutions, solar terms, seasonal care."""
