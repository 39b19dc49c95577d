"""The commands of `issuer`, one module for each part."""
