"""Sound as ImageBind's front end takes it in, written once more, plain and slow."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.parts.mel import fbank, resample
from tests.parity.test_plainly import close


@pytest.mark.parametrize("samples", [399, 400, 559, 560, 5_003, 32_000])
def test_kaldi_s_filter_bank(samples: int) -> None:
    """Against the one that transformers wrote down for the Audio Spectrogram Transformer."""
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    sound = np.random.default_rng(samples).normal(size=samples) * 0.1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filter")  # so few bins are in the lowest ones
        filters = mel_filter_bank(257, 128, 20, 8000, 16_000, mel_scale="kaldi", triangularize_in_mel_space=True)
    if samples < 400:
        assert fbank(torch.tensor(sound, dtype=torch.float32)).shape == (0, 128)
        return
    theirs = spectrogram(
        sound,
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T
    close(fbank(torch.tensor(sound, dtype=torch.float32)), theirs.astype(np.float64), 2e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_a_tone_is_the_same_tone_at_another_rate(rate: int) -> None:
    tone, wanted = (torch.sin(2 * math.pi * 440 * torch.arange(hz) / hz)[None] for hz in (rate, 16_000))
    made = resample(tone, rate, 16_000)
    assert made.shape == wanted.shape
    assert (made - wanted)[:, 200:-200].abs().max() < 5e-3
    assert F.mse_loss(made, wanted) < 1e-3
