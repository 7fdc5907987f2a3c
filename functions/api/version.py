"""The API's version, as its description and ``/health`` say it."""

VERSION = "0.1.0"
