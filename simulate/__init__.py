"""What is too long for the suite: soak, fuzzing, scale."""
