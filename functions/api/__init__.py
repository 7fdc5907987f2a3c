"""The HTTP API: one Lambda function behind API Gateway. Reading order: app, routes, submit."""
