"""`alkdnet upscale`: image files, formats, metadata and memory around the network."""
