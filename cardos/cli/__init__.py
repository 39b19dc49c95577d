"""The commands of `cardos`, one module for each noun."""
