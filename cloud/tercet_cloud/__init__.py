"""The cloud: models and their cutting, serving on Ray, and the commands that need the whole stack."""
