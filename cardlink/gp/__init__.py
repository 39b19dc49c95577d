"""GlobalPlatform: the arithmetic of SCP03 and the bytes of the card management commands, for card and host alike."""
