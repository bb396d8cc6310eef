"""The encoder that needs no download: concepts measured in the picture, words read and words heard."""
