"""The station: what runs on the operator's machine, between the centre and a card reader. It sees ciphertext."""
