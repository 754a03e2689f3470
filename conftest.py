"""What holds for the tests of every package."""

from hypothesis import settings

# A busy machine makes single examples slow; what takes too long is caught by the timeout of the whole test.
settings.register_profile("workspace", deadline=None)
settings.load_profile("workspace")
