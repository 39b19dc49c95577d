"""What people read of `cardos`: texts by code and language."""
