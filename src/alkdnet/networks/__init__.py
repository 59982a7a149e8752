"""One file per network; each names its class NETWORK."""
