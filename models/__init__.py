"""Everything with weights: encoders, video-language systems, speech."""
