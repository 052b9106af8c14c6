"""What patients have paid for private training and may still pay, and who has withdrawn."""
