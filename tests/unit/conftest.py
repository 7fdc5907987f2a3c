"""Fixtures and settings for unit tests."""

import hypothesis

# No test of ours is about how long an example takes, and on a busy machine a quick one may take long.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
