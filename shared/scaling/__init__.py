"""How many worker environments each lane may use: pure functions, no clock, no network."""
