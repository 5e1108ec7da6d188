"""What snoopkit costs, compared with what else there is."""
