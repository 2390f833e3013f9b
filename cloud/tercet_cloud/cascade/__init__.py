"""Making cascades: thresholds with certificates, from labelled or unlabelled frames."""
