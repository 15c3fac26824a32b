"""What an accuracy is measured under, and what comes of it: results, intervals, times, files that are whole."""
