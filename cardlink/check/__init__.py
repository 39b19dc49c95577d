"""Evidence and trust in, a verified card or a refusal out: pure judgement, shared by door, read-back and verifier."""
