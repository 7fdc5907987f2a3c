"""The HTTP API: one Lambda function behind API Gateway.

A request passes `app`, `door` (what every request passes) and one file of `routes`, which calls what does the work:
`submit` (the way in), `read` and `live` (what is told of a task), `control` (what is done to one), `schedules`, `bulk`
(OpenAI's batches), `system` (what operators see); `dialect` translates OpenAI's words. `contract` holds what bodies may
be and how problems are worded, `description` what answers hold. `streaming` runs the same application once more.
"""

import os

if os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
    from functions.api import quick_start  # noqa: F401 - before FastAPI is imported
