"""What all HTML pages share: wording, templates, publishing."""
