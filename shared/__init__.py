"""What Sluice's functions have in common. One module per idea; nothing here imports a function."""
