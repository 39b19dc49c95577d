"""What cards say to doors beside PIV: applications of their own, both sides of each message."""
