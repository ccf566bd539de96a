"""A tournament: many recipes on the same images, ranked."""
