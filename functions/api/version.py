"""The API's version, as its description and ``/health`` say it."""

from sluice import __version__

VERSION = __version__
