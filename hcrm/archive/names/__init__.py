"""How names are spelled and by what pieces they are found."""
