"""What surrounds a training and decides no number: checkpoint, signals, history, monitor, launching."""
