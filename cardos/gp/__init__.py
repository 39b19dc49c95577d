"""The issuer security domain and the card's end of SCP03."""
