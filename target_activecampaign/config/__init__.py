"""The settings: each stated once, read from files and variables, checked.

In: files and the environment. Out: one `Settings` value, or problems as sentences.
It knows nothing of streams that come.
"""
