"""One package per Lambda function; none imports another."""
