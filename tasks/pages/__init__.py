"""What HTML pages share: words, templates, publishing."""
