"""Metadata that carry no picture: what was seen where, in the forms that others read."""
