"""The PIV card application."""
