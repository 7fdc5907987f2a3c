"""The HTTP API: one Lambda function behind API Gateway. Reading order: app, routes, submit."""

import os

if os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
    from functions.api import quick_start  # noqa: F401 - before FastAPI is imported
