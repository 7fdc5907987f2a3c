"""What is told of a task: built for an answer, at once or held until there is something to tell."""
