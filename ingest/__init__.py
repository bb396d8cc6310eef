"""Sources, decoding, time, sampling, recording and the bus: the vocabulary of video. Imports nothing of ours."""
