"""Rows of outcomes in the operator's own place: a database, or a folder of Singer files.

In: records with their outcome. Out: one row for each record that was not unchanged, stored before
the STATE after it is written.
It does not know how outcomes are decided.
"""
