"""The domain model: contacts, records, addresses, phones, names and codes.

Plain values that do no input or output. All packages above use them.
"""
