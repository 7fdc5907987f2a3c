"""A task's life in DynamoDB and SQS. Reading order: model, items, store, leases, checkpoints, events, settle, lanes."""
