"""What is done to tasks that are there: cancelled, answered, run again, erased."""
