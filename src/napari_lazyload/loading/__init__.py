"""Reading chunks: the cache, the scheduler, exact reads of boxes, the load status.

Arrays, displays, crops and exports read through it. It knows `Source` and `Chunk` of
`core.source`, and no format.
"""
