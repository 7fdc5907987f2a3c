"""What Sluice's functions have in common. One module per idea; nothing here imports a function."""

import os

if os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
    from shared.put_off import put_off

    put_off("redis", "redis.asyncio")  # a function needs one client of redis-py: no asynchronous one, no cluster …
