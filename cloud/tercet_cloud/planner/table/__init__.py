"""The few plans that are nearly the best over a range of links and deadlines."""
