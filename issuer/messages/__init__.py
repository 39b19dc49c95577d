"""What offices read: texts by code and language."""
