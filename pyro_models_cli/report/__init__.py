"""The HTML report: its sections, pictures and plots."""
