"""Pages to play with a trained model: its networks as lists of operations, and the page that runs them."""
