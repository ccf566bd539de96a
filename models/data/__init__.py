"""What labelled images are like, and what gives their classes away."""
