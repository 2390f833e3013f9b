"""`tercet bench adapt`: plans chosen while the link changes, against fixed plans and one who knows the link."""
