"""The API's description of itself, and the documents that answers hold. Only who asks for it pays for it."""
