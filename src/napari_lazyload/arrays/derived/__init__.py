"""Sources made from another source: computed coarse levels, converted values, picked channels.

`Image` and `layer_data` derive them; each forwards the abilities that still hold.
"""
