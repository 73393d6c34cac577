"""What a training run leaves behind: its folder, tables, checkpoints, and the description of its parts."""
