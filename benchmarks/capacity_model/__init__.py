"""A discrete-event model of the whole system: arrivals, admission, lanes, pollers, environments, provider, scaler."""
