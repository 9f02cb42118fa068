"""What a run saves and shows. Training ends with the same weights without these callbacks."""
