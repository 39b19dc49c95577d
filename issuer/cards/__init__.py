"""Cards: requests, stock, life cycle, personalisation, faces."""
