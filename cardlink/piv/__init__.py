"""The PIV data model and its commands (NIST SP 800-73-5, SP 800-78-5), the rows both ends read."""
