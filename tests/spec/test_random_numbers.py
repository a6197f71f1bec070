"""Random numbers from counters, the same in every framework."""

import numpy as np
import pytest

from gptcore.spec.random_numbers import gumbel, threefry


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [  # the known answers of the authors' Random123 1.09
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry(key, counter, words):
    assert tuple(map(int, threefry(key, *(np.array(word, np.uint32) for word in counter)))) == words


def test_noise_has_the_gumbel_distribution():
    noise = np.concatenate([gumbel(1, 0, step, np.arange(40_478)) for step in range(5)]).astype(np.float64)
    assert noise.dtype == np.float64
    assert np.isfinite(noise).all()
    assert abs(noise.mean() - np.euler_gamma) < 0.01
    assert abs(noise.var() - np.pi**2 / 6) < 0.02
    for quantile in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert abs((noise < -np.log(-np.log(quantile))).mean() - quantile) < 0.003


def test_each_seed_row_and_step_has_its_own_noise():
    streams = {
        tuple(gumbel(seed, row, step, np.arange(4)).tolist())
        for seed in (0, 1, 2**32 - 1)
        for row in range(3)
        for step in range(3)
    }
    assert len(streams) == 27
