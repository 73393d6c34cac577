"""Record a function as a graph and compile it; where that fails, fall back to the function itself."""
