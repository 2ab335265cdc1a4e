"""What a decorator on a step or a flow does."""
