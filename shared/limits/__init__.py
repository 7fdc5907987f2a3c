"""Fair shares and hard ceilings.

Reading order: tiers, prices, names, admission (with ``lua/admit.lua``), keys, breaker, provider, headers.
"""
