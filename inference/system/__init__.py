"""The machine: devices, processes, random numbers, signals, files and terminals."""
