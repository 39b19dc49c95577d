"""What the command lines of all programs share: the choice of the language, catalogues, help and its framing words."""
