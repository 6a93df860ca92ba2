"""What all others speak of: contacts, records, addresses, names, codes.

Values without a connection to anything.
"""
