"""One module per format: turns a path into image metadata and reads chunks. Core and format libraries alone."""
