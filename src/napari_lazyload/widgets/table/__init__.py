"""The meta table: model, order, filter, painting."""
