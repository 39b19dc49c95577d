"""PKOC, the Public Key Open Credential: an application with a key of its own."""
