"""The console, the public page behind the QR, and the JSON API."""
