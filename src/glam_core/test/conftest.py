"""Model folders as fixtures, and hypothesis without deadlines: a busy machine is not an error."""

import pytest
from hypothesis import settings
from tiny_models import build

settings.register_profile("glam", deadline=None)
settings.load_profile("glam")


@pytest.fixture
def latent_folder(tmp_path):
    return build(tmp_path / "tiny_latent", "latent_policy")


@pytest.fixture
def direct_folder(tmp_path):
    return build(tmp_path / "tiny_direct", "direct_policy")
