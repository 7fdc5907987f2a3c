"""Runs agents. Reading order: handler, batch, runner, context, model_step, eventlog, heartbeat."""

import gc
import os

if os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
    gc.disable()  # nothing that is imported becomes garbage: looking for some takes 8 %; the handler ends this
