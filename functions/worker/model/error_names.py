"""By which names providers, gateways and validators tell of an error: where its words stand, its status, its field."""

INSIDE = (
    "error", "x_groq", "errors", "detail", "details", "fault", "response", "base_resp", "err", "message", "issues",
    "fieldViolations", "violations", "validation_errors", "validationErrors", "params", "innererror",
)  # fmt: skip
PARAM = ("param", "loc", "field", "keys", "additionalProperty", "unevaluatedProperty", "instancePath", "propertyPath")
"""Where errors, also those of validators, name what they blame."""
MESSAGE = (
    "message", "Message", "msg", "error_message", "error_msg", "errorMessage", "status_msg", "faultstring", "reason",
    "error_description", "description", "title",
)  # fmt: skip
CODE = ("code", "error_code", "errorCode", "status_code", "statusCode", "status", "type", "__type", "error_type")
STATUSES = {
    "invalid_argument": 400, "failed_precondition": 400, "invalid_request_error": 400, "bad_request": 400,
    "badrequesterror": 400, "validationexception": 400, "invalid_request": 400, "bad_request_error": 400,
    "unauthenticated": 401, "authentication_error": 401, "invalid_api_key": 401, "autherror": 401,
    "authenticationerror": 401, "insufficient_balance": 402, "billing_error": 402, "payment_required": 402,
    "permission_denied": 403, "permission_error": 403, "permissiondeniederror": 403, "accessdeniedexception": 403,
    "not_found": 404, "not_found_error": 404, "model_not_found": 404, "notfounderror": 404,
    "resourcenotfoundexception": 404, "request_too_large": 413, "resource_exhausted": 429, "rate_limit_error": 429,
    "rate_limit_exceeded": 429, "rate_limit_exceeded_error": 429, "too_many_requests": 429, "ratelimiterror": 429,
    "throttlingexception": 429, "throttling_error": 429, "throttling": 429, "rate_limited": 429, "internal": 500,
    "internal_error": 500, "internal_server_error": 500, "server_error": 500, "api_error": 500,
    "internalservererror": 500, "unavailable": 503, "service_unavailable": 503, "engine_overloaded_error": 503,
    "overloaded": 503, "timeout": 504, "timeout_error": 504, "deadline_exceeded": 504, "overloaded_error": 529,
    "rate_limit": 429, "over_capacity": 503,
}  # fmt: skip
"""Statuses by the names that providers give them."""
BASE_RESP = {
    1000: "internal_error", 1001: "timeout", 1002: "rate_limit", 1004: "unauthenticated", 1008: "insufficient_balance",
    1013: "internal_error", 1024: "internal_error", 1026: "content_filter", 1027: "content_filter",
    1033: "internal_error", 1039: "invalid_request", 2013: "invalid_request", 2049: "invalid_api_key",
    2056: "rate_limit",
}  # fmt: skip
"""Names for the numbers in ``base_resp``, which comes with 200 (platform.minimax.io, "Error Codes", 2026-11)."""
DELAY = (
    "retryDelay", "retry_after", "retry_after_seconds", "retryAfter", "retry_after_ms", "retryAfterMs",
    "estimated_time", "resets_in_seconds", "reset_in_seconds", "retry_after_secs", "retry_in", "wait_seconds",
)  # fmt: skip
FINE = (0, "0", 200, "200", "success", "Success", "ok", "OK")
NEWS = frozenset({"ping", "warning", "info", "notice", "status", "progress", "queue", "heartbeat", "keepalive"})
"""Types of chunks that tell something beside the reply."""
PASSING = frozenset({429, 500, 502, 503, 504, 529})
"""What a gateway may mean that answers 400 whatever happened."""
