"""Reading, sampling and making videos with boxes."""
