"""What two programs must agree on, byte for byte."""
