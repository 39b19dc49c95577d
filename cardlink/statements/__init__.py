"""The written formats: strict CBOR, COSE, and the signed statements of docs/formats.md."""
