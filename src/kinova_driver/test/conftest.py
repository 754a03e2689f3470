"""Hypothesis without deadlines: a busy machine is not an error."""

from hypothesis import settings

settings.register_profile("kinova_driver", deadline=None)
settings.load_profile("kinova_driver")
