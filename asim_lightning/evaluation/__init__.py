"""Accuracies under a condition: evaluation, results, intervals, times, and files that are never half written."""
