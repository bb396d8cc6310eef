"""Sound as ImageBind hears it: log-mel pictures of two-second clips, after Kaldi's filter bank.

Girdhar et al., "ImageBind: One Embedding Space To Bind Them All" (CVPR 2023), §3.3, after Gong et al., "AST: Audio
Spectrogram Transformer" (Interspeech 2021): 25 ms Hann windows every 10 ms, 128 mel bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from ingest.records import SAMPLE_RATE

_BINS, _FRAMES = 128, 204
_MEAN, _DEVIATION = -4.268, 9.138
_WINDOW, _SHIFT, _FFT = 400, 160, 512
_LOWEST_HZ = 20.0


@dataclass(frozen=True)
class Clips:
    """How clips are taken.

    to_the_end    the last clip ends with the sound; otherwise, as in the library the authors installed, it ends before
    independent   each clip loses its own mean; otherwise, as in their code, the mean is taken out of the sound itself,
                  so that overlapping clips lose the means of earlier ones as well
    """

    count: int = 8
    seconds: int = 2
    to_the_end: bool = False
    independent: bool = False


def mel_clips(sound: Tensor, rate: int, how: Clips) -> Tensor:
    """Sound float32 [channels, N] at `rate` Hz to pictures float32 [count, 1, 128, 204].

    The mean that is taken out is that of all channels, the picture that of the first.
    """
    sound = resample(sound, rate, SAMPLE_RATE).clone()
    spare = max(sound.shape[1] / SAMPLE_RATE - how.seconds, 0)
    step = Fraction(spare) / (max(how.count - 1, 1) if how.to_the_end else how.count)
    pictures = []
    for index in range(how.count):
        start, end = step * index, step * index + how.seconds
        clip = sound[:, int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        clip = clip.clone() if how.independent else clip
        clip -= clip.mean()
        picture = fbank(clip[0]).T  # [128, frames]
        picture = F.pad(picture, (0, max(_FRAMES - picture.shape[1], 0)))[:, :_FRAMES]
        pictures.append((picture - _MEAN) / _DEVIATION)
    return torch.stack(pictures).unsqueeze(1)


def fbank(sound: Tensor) -> Tensor:
    """Kaldi's log-mel filter bank: float32 [N] at 16 kHz to [frames, 128]. Shorter than a window gives no frames."""
    if len(sound) < _WINDOW:
        return sound.new_zeros(0, _BINS)
    frames: Tensor = sound.unfold(0, _WINDOW, _SHIFT)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = F.pad(frames.unsqueeze(0), (1, 0), mode="replicate").squeeze(0)[:, :-1]
    frames = (frames - 0.97 * before) * torch.hann_window(_WINDOW, periodic=False)
    power = torch.fft.rfft(F.pad(frames, (0, _FFT - _WINDOW))).abs() ** 2
    energies: Tensor = power[:, :-1] @ _mel_filters().T
    return energies.clamp(min=torch.finfo(torch.float32).eps).log()


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hertz / 700.0).log()


def _mel_filters() -> Tensor:
    """Triangles evenly spaced in mel, float32 [128, 256]."""
    lowest, highest = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (_LOWEST_HZ, SAMPLE_RATE / 2))
    step = (highest - lowest) / (_BINS + 1)
    left = (lowest + torch.arange(_BINS) * step).unsqueeze(1)
    at = _mel(torch.arange(_FFT // 2) * (SAMPLE_RATE / _FFT))
    rising, falling = (at - left) / step, (left + 2 * step - at) / step
    return torch.minimum(rising, falling).clamp(min=0.0)


def resample(sound: Tensor, rate: int, wanted: int) -> Tensor:
    """Band-limited resampling [channels, N] by windowed sinc: six zero crossings, Hann window, rolloff 0.99."""
    if rate == wanted:
        return sound
    common = math.gcd(rate, wanted)
    old, new = rate // common, wanted // common
    cutoff, crossings = min(old, new) * 0.99, 6
    reach = math.ceil(crossings * old / cutoff)
    taps = torch.arange(-reach, reach + old, dtype=torch.float64)[None, None] / old
    phases = torch.arange(0, -new, -1)[:, None, None] / new  # in float32, as theirs
    at = ((phases + taps) * cutoff).clamp(-crossings, crossings)
    window = torch.cos(at * math.pi / crossings / 2) ** 2
    kernels = (torch.sinc(at) * window * cutoff / old).to(sound.dtype)
    padded = F.pad(sound, (reach, reach + old)).unsqueeze(1)
    resampled = F.conv1d(padded, kernels, stride=old).transpose(1, 2).reshape(len(sound), -1)
    return resampled[:, : math.ceil(new * sound.shape[1] / old)]
