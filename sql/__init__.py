"""What is remembered: migrations, queries, views, roles."""
