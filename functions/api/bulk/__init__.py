"""Work in bulk, as far as it needs the API's own code: the lines of a batch are requests of its dialects."""
