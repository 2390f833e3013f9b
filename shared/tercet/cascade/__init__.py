"""A cascade: small models answer what they are sure of, larger ones the rest; exits have certificates."""
