"""What is shown and saved: training ends with the same weights without any of these."""
