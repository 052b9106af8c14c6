"""From a hospital's image files to arrays: catalogue, decoding, cache, transforms. Worker only."""
