"""Pages on which a trained run is played with: its networks as lists of operations, and the page that runs them."""
