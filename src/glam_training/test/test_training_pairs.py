"""Pairs: stores of the same motions, each as its source sees them."""

from __future__ import annotations

import numpy as np
import pytest

from glam_sim.sources import GEN3, TWIN, UMI
from glam_training.data.store import Store
from glam_training.pairs import record_pairs

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("sources", [(GEN3, UMI), (UMI, TWIN)])
def test_stores_show_the_same_motion(tmp_path, sources):
    stores = [Store.open(path) for path in record_pairs(tmp_path, "place", 1, 3, ("front",), 48, sources)]
    first, second = (store.load(["scene", "images/front"]) for store in stores)
    assert np.array_equal(stores[0].episode_ends, stores[1].episode_ends)
    names = stores[0].info.scene_spec.components
    scenes = [dict(zip(names, arrays["scene"].T, strict=True)) for arrays in (first, second)]
    for name in ("red_cube.x", "red_cube.z", "bowl.y"):
        np.testing.assert_allclose(scenes[0][name], scenes[1][name], atol=1e-5)
    assert 0.002 < np.abs(scenes[0]["arm.z"] - scenes[1]["arm.z"]).max() < 0.012
    assert np.abs(scenes[0]["look.blue"] - scenes[1]["look.blue"]).min() > 0.03
    assert not np.array_equal(first["images/front"], second["images/front"])
