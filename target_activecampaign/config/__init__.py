"""The settings: their definitions, and how they are read and checked.

In: files and the environment. Out: a `Settings` value, or problems as sentences.
It does not know which streams the input has.
"""
