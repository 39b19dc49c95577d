"""Trust: the HSM port, signers, the X.509 authorities, the trust list and the status feed."""
