"""Users, their roles, sessions and sign-in."""
