"""Work in bulk: files of requests, and the batches that run them."""
