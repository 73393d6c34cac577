"""Images in memory, and the data sets they come from."""
