"""Fair shares and hard ceilings: tiers, prices, admission, API keys, the circuit breaker, the provider's budget.

Reading order: tiers, prices, names, admission (with ``lua/admit.lua``), keys, breaker, provider, headers.
"""
