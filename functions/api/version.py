"""The API's version, as its description and ``/health`` say it."""

VERSION = "1.0.0"
